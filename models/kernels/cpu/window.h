// A Swin block on one window of 8 x 8 pixels, everything between its two ends in the first-level cache.
// Tokens lie in the lanes: a map of the window is [channel][64], so no sum runs across a vector.
#pragma once
#include "micro.h"

namespace hvr {

constexpr int SIDE = 8, TOKENS = SIDE * SIDE, TOKEN_VECTORS = TOKENS / LANES;

struct Affine {
    const float* gamma;
    const float* beta;
};

// x <- LayerNorm over the channels (eps 1e-5) of `vectors` vectors of pixels.
inline void layer_norm(float* x, long stride, int channels, int vectors, const Affine& a) {
    for (int i = 0; i < vectors; i++) {
        float* p = x + i * LANES;
        V sum = {}, squares = {};
        for (int c = 0; c < channels; c++) sum += load(p + c * stride);
        V mean = sum / (float)channels;
        for (int c = 0; c < channels; c++) {
            V d = load(p + c * stride) - mean;
            squares += d * d;
        }
        V rate = 1.f / square_root(squares / (float)channels + 1e-5f);
        for (int c = 0; c < channels; c++)
            store(p + c * stride, (load(p + c * stride) - mean) * rate * a.gamma[c] + a.beta[c]);
    }
}

struct SwinBlock {
    int dim, heads, hidden;
    bool shifted;
    Linear qkv, proj, fc1, fc2;
    const float* scale;  // per head: factor of the similarity, in units of log 2
    const float* bias;   // [kind][head][key][query]: position bias and mask in units of log 2, less the head's bound
    const float* bound;  // per head: 1 where that bound keeps exp2 in range, 0 where the true maximum is needed
    Affine norm1, norm2;
};

// Rows of q (or k) of one head to unit length times `factor`.
inline void normalise_head(float* x, int d, float factor) {
    for (int i = 0; i < TOKENS; i += LANES) {
        V squares = {};
        for (int c = 0; c < d; c++) squares += load(x + c * TOKENS + i) * load(x + c * TOKENS + i);
        V rate = factor / max(square_root(squares), all(1e-12f));
        for (int c = 0; c < d; c++) store(x + c * TOKENS + i, load(x + c * TOKENS + i) * rate);
    }
}

// out = softmax(q k^T + bias) v for one head of d channels; q, k, v, out [d][64]. Two vectors of queries at a time, key by
// key; the weights p stay in the first-level cache between the two products.
template <int d>
inline void attend(const float* q, const float* k, const float* v, const float* bias, bool bounded, float* out) {
    constexpr int QV = 2;
    float p[TOKENS * QV * LANES];
    for (int i = 0; i < TOKENS; i += QV * LANES) {
        V query[d][QV], total[QV] = {}, top[QV] = {};
        for (int c = 0; c < d; c++)
            for (int u = 0; u < QV; u++) query[c][u] = load(q + c * TOKENS + i + u * LANES);
        auto similarity = [&](int j, int u) {
            V even = load(bias + j * TOKENS + i + u * LANES), odd = V{};
            UNROLL for (int c = 0; c < d; c += 2) even += query[c][u] * k[c * TOKENS + j];
            UNROLL for (int c = 1; c < d; c += 2) odd += query[c][u] * k[c * TOKENS + j];
            return even + odd;
        };
        if (!bounded)
            for (int u = 0; u < QV; u++) {
                top[u] = similarity(0, u);
                for (int j = 1; j < TOKENS; j++) top[u] = max(top[u], similarity(j, u));
            }
        for (int j = 0; j < TOKENS; j++)
            UNROLL for (int u = 0; u < QV; u++) {
                V weight = exp2(bounded ? similarity(j, u) : similarity(j, u) - top[u]);
                store(p + (j * QV + u) * LANES, weight);
                total[u] += weight;
            }
        V sum[d][QV] = {};
        for (int j = 0; j < TOKENS; j++)
            UNROLL for (int c = 0; c < d; c++) {
                V value = all(v[c * TOKENS + j]);
                UNROLL for (int u = 0; u < QV; u++) sum[c][u] += load(p + (j * QV + u) * LANES) * value;
            }
        for (int c = 0; c < d; c++)
            for (int u = 0; u < QV; u++) store(out + c * TOKENS + i + u * LANES, sum[c][u] / total[u]);
    }
}

inline bool supported_head(int d) { return d == 2 || d == 3 || d == 4 || d == 6 || d == 8 || d == 12 || d == 16; }

inline void attend_any(int d, const float* q, const float* k, const float* v, const float* bias, bool bounded, float* out) {
    switch (d) {
        case 2: return attend<2>(q, k, v, bias, bounded, out);
        case 3: return attend<3>(q, k, v, bias, bounded, out);
        case 4: return attend<4>(q, k, v, bias, bounded, out);
        case 6: return attend<6>(q, k, v, bias, bounded, out);
        case 8: return attend<8>(q, k, v, bias, bounded, out);
        case 12: return attend<12>(q, k, v, bias, bounded, out);
        case 16: return attend<16>(q, k, v, bias, bounded, out);
    }
}

// Floats of scratch memory that `swin_window` needs.
inline long window_scratch(int dim, int hidden) { return (long)TOKENS * (6 * dim + hidden); }

// x <- the block's output for one window x [dim][64] of the given kind (2 * last row + last column, when shifted).
inline void swin_window(const SwinBlock& b, float* x, int kind, float* scratch) {
    const int D = b.dim, d = D / b.heads;
    float* qkv = scratch;                 // [3 D][64]
    float* attended = qkv + 3 * D * TOKENS;
    float* y = attended + D * TOKENS;
    float* hidden = y + D * TOKENS;       // [hidden][64]
    apply(b.qkv, x, TOKENS, qkv, TOKENS, TOKEN_VECTORS);
    for (int h = 0; h < b.heads; h++) {
        float *q = qkv + h * d * TOKENS, *k = q + D * TOKENS, *v = k + D * TOKENS;
        normalise_head(q, d, b.scale[h]);
        normalise_head(k, d, 1.f);
        const float* bias = b.bias + ((long)kind * b.heads + h) * TOKENS * TOKENS;
        attend_any(d, q, k, v, bias, b.bound[h] != 0.f, attended + h * d * TOKENS);
    }
    apply(b.proj, attended, TOKENS, y, TOKENS, TOKEN_VECTORS);
    layer_norm(y, TOKENS, D, TOKEN_VECTORS, b.norm1);
    for (int i = 0; i < D * TOKENS; i += LANES) store(x + i, load(x + i) + load(y + i));
    apply(b.fc1, x, TOKENS, hidden, TOKENS, TOKEN_VECTORS);
    for (int i = 0; i < b.hidden * TOKENS; i += LANES) store(hidden + i, gelu(load(hidden + i)));
    apply(b.fc2, hidden, TOKENS, y, TOKENS, TOKEN_VECTORS);
    layer_norm(y, TOKENS, D, TOKEN_VECTORS, b.norm2);
    for (int i = 0; i < D * TOKENS; i += LANES) store(x + i, load(x + i) + load(y + i));
}


}  // namespace hvr
