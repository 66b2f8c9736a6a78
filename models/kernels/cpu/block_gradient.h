// A Swin block for training: forward, and backward with the forward computed again inside the window, so that nothing but
// the block's input is kept between the two. Windows of (B, H, W, D) float32 features, each read once and written once.
// Tokens lie in the lanes, as in window.h: a map of the window is [channel][vector of tokens].
#pragma once
#include <memory>
#include <vector>

#include "lanes.h"
#include "team.h"

namespace hvr {

inline V exp_negative(V x) { return exp2(min(x, all(0.f)) * 1.44269504088896341f); }  // e^x for x <= 0

// x Phi(x) and its derivative.
inline void gelu_and_slope(V x, V& value, V& slope) {
    V phi = 0.5f + 0.5f * erf(x * 0.70710678118654752f);
    value = x * phi;
    slope = phi + x * exp_negative(x * x * -0.5f) * 0.39894228040143268f;
}

// Where the windows of a batch lie.
struct Windows {
    int H, W, shift;  // shift: pixels of the cyclic shift to the top left, 0 for none

    long per_image() const { return (long)(H / 8) * (W / 8); }
    // 2 * (last row of windows) + (last column) when shifted.
    int kind(long n) const {
        const int columns = W / 8, row = n % per_image() / columns, column = n % columns;
        return shift ? 2 * (row == H / 8 - 1) + (column == columns - 1) : 0;
    }
    // f(token, pixel of the batch) for all tokens of window n.
    template <class F>
    void each_pixel(long n, F f) const {
        const int columns = W / 8, row = n % per_image() / columns, column = n % columns;
        const long image = n / per_image() * H * W;
        for (int i = 0; i < 8; i++) {
            const int y = (row * 8 + i + shift) % H;
            for (int j = 0; j < 8; j++) f(i * 8 + j, image + (long)y * W + (column * 8 + j + shift) % W);
        }
    }
};

template <int D, int HEADS, int HIDDEN>
struct BlockGradient {
    static constexpr int NT = 64, NV = NT / LANES, d = D / HEADS;
    static_assert(NV % 4 == 0, "four vectors of tokens are handled at once");
    typedef V Rows[NV];  // a channel

    // Offsets into the packed parameters, and into their gradients.
    enum : long {
        qkv_w = 0, qkv_b = qkv_w + 3 * D * D, proj_w = qkv_b + 3 * D, proj_b = proj_w + D * D, gamma1 = proj_b + D,
        beta1 = gamma1 + D, fc1_w = beta1 + D, fc1_b = fc1_w + HIDDEN * D, fc2_w = fc1_b + HIDDEN, fc2_b = fc2_w + D * HIDDEN,
        gamma2 = fc2_b + D, beta2 = gamma2 + D, scale = beta2 + D,
        bias = scale + HEADS,  // [kind][head][key][query]
        bias_size = (long)HEADS * NT * NT
    };

    // What a window's forward leaves for its backward.
    struct Forward {
        Rows x[D], qkv[3 * D], unit[2 * D], rate[2 * HEADS], attended[D], a[D], normed1[D], rate1, y1[D], hidden[HIDDEN],
            active[HIDDEN], slope[HIDDEN], m[D], normed2[D], rate2, out[D];
        Rows p[HEADS][NT], total[HEADS];  // exp(similarity - its maximum) [key][query], one over its sum
    };
    struct Backward {
        Rows out[D], m[D], hidden[HIDDEN], y1[D], a[D], attended[D], qkv[3 * D], p[NT], similarity[NT];
        float qkv_t[3 * D * D], proj_t[D * D], fc1_t[HIDDEN * D], fc2_t[D * HIDDEN];
    };

    // y[o] (+)= sum_i w[o][i] x[i] + b[o]
    template <int O, int I, bool ADD = false>
    static void linear(const float* w, const float* b, const Rows* x, Rows* y) {
        constexpr int OB = O % 3 == 0 ? 3 : 2;
        static_assert(O % OB == 0, "unsupported width");
        for (int o = 0; o < O; o += OB)
            for (int t = 0; t < NV; t += 4) {
                V acc[OB][4];
                for (int a = 0; a < OB; a++)
                    for (int u = 0; u < 4; u++) acc[a][u] = ADD ? y[o + a][t + u] : all(b ? b[o + a] : 0.f);
                for (int i = 0; i < I; i++)
                    for (int a = 0; a < OB; a++)
                        for (int u = 0; u < 4; u++) acc[a][u] += w[(o + a) * I + i] * x[i][t + u];
                for (int a = 0; a < OB; a++)
                    for (int u = 0; u < 4; u++) y[o + a][t + u] = acc[a][u];
            }
    }

    // Gradients of w and b from that of y and from x: gw[o][i] += sum over tokens gy[o] x[i].
    template <int O, int I>
    static void linear_parameters(const Rows* gy, const Rows* x, float* gw, float* gb) {
        constexpr int OB = O % 3 == 0 ? 3 : 2, IB = 4;
        for (int o = 0; o < O; o++) {
            V s{};
            for (int t = 0; t < NV; t++) s += gy[o][t];
            gb[o] += sum(s);
        }
        for (int o = 0; o < O; o += OB)
            for (int i = 0; i < I; i += IB) {
                V acc[OB][IB] = {};
                for (int t = 0; t < NV; t++)
                    for (int a = 0; a < OB; a++)
                        for (int u = 0; u < IB; u++) acc[a][u] += gy[o + a][t] * x[i + u][t];
                for (int a = 0; a < OB; a++)
                    for (int u = 0; u < IB; u++) gw[(o + a) * I + i + u] += sum(acc[a][u]);
            }
    }

    template <int O, int I>
    static void transpose(const float* w, float* t) {
        for (int o = 0; o < O; o++)
            for (int i = 0; i < I; i++) t[i * O + o] = w[o * I + i];
    }

    static void normalise(const Rows* x, Rows* normed, V* rate) {
        for (int t = 0; t < NV; t++) {
            V mean{}, squares{};
            for (int c = 0; c < D; c++) mean += x[c][t];
            mean *= 1.f / D;
            for (int c = 0; c < D; c++) squares += (x[c][t] - mean) * (x[c][t] - mean);
            rate[t] = 1.f / square_root(squares * (1.f / D) + 1e-5f);
            for (int c = 0; c < D; c++) normed[c][t] = (x[c][t] - mean) * rate[t];
        }
    }

    static void layer_norm_backward(const Rows* gy, const Rows* normed, const V* rate, const float* gamma, Rows* gx,
                                    float* g_gamma, float* g_beta) {
        for (int c = 0; c < D; c++) {
            V a{}, b{};
            for (int t = 0; t < NV; t++) a += gy[c][t] * normed[c][t], b += gy[c][t];
            g_gamma[c] += sum(a);
            g_beta[c] += sum(b);
        }
        for (int t = 0; t < NV; t++) {
            V a{}, b{};
            for (int c = 0; c < D; c++) a += gy[c][t] * gamma[c], b += gy[c][t] * gamma[c] * normed[c][t];
            for (int c = 0; c < D; c++)
                gx[c][t] = (gy[c][t] * gamma[c] - a * (1.f / D) - normed[c][t] * (b * (1.f / D))) * rate[t];
        }
    }

    // Softmax attention of every head; two vectors of queries at a time, key by key.
    static void attend(const float* par, const float* bias, Forward& f) {
        for (int r = 0; r < 2 * HEADS; r++)  // q, then k, of each head to unit length
            for (int t = 0; t < NV; t++) {
                V squares{};
                for (int c = 0; c < d; c++) squares += f.qkv[r * d + c][t] * f.qkv[r * d + c][t];
                f.rate[r][t] = 1.f / max(square_root(squares), all(1e-12f));
                for (int c = 0; c < d; c++) f.unit[r * d + c][t] = f.qkv[r * d + c][t] * f.rate[r][t];
            }
        for (int h = 0; h < HEADS; h++, bias += NT * NT) {
            const Rows* q = f.unit + h * d;
            const float* k = reinterpret_cast<const float*>(f.unit + D + h * d);
            const float* v = reinterpret_cast<const float*>(f.qkv + 2 * D + h * d);
            for (int t = 0; t < NV; t += 2) {
                V query[d][2], top[2] = {all(-1e30f), all(-1e30f)}, total[2] = {}, out[d][2] = {};
                for (int c = 0; c < d; c++)
                    for (int u = 0; u < 2; u++) query[c][u] = q[c][t + u] * par[scale + h];
                for (int j = 0; j < NT; j++)
                    for (int u = 0; u < 2; u++) {
                        V s = load(bias + j * NT + (t + u) * LANES);
                        UNROLL for (int c = 0; c < d; c++) s += query[c][u] * k[c * NT + j];
                        top[u] = max(top[u], s);
                        f.p[h][j][t + u] = s;
                    }
                for (int j = 0; j < NT; j++)
                    for (int u = 0; u < 2; u++) {
                        V p = exp_negative(f.p[h][j][t + u] - top[u]);
                        f.p[h][j][t + u] = p;
                        total[u] += p;
                        UNROLL for (int c = 0; c < d; c++) out[c][u] += p * v[c * NT + j];
                    }
                for (int u = 0; u < 2; u++) {
                    f.total[h][t + u] = 1.f / total[u];
                    for (int c = 0; c < d; c++) f.attended[h * d + c][t + u] = out[c][u] / total[u];
                }
            }
        }
    }

    static void forward(const float* par, const float* bias, Forward& f) {
        linear<3 * D, D>(par + qkv_w, par + qkv_b, f.x, f.qkv);
        attend(par, bias, f);
        linear<D, D>(par + proj_w, par + proj_b, f.attended, f.a);
        normalise(f.a, f.normed1, f.rate1);
        for (int c = 0; c < D; c++)
            for (int t = 0; t < NV; t++) f.y1[c][t] = f.x[c][t] + f.normed1[c][t] * par[gamma1 + c] + par[beta1 + c];
        linear<HIDDEN, D>(par + fc1_w, par + fc1_b, f.y1, f.hidden);
        for (int c = 0; c < HIDDEN; c++)
            for (int t = 0; t < NV; t++) gelu_and_slope(f.hidden[c][t], f.active[c][t], f.slope[c][t]);
        linear<D, HIDDEN>(par + fc2_w, par + fc2_b, f.active, f.m);
        normalise(f.m, f.normed2, f.rate2);
        for (int c = 0; c < D; c++)
            for (int t = 0; t < NV; t++) f.out[c][t] = f.y1[c][t] + f.normed2[c][t] * par[gamma2 + c] + par[beta2 + c];
    }

    // One head: gradients of its scale, bias, queries, keys and values from g.attended.
    static void attend_backward(const float* par, int h, const Forward& f, float* g_scale, float* g_bias, Backward& g) {
        const Rows *q = f.unit + h * d, *kr = f.unit + D + h * d;
        const float* k = reinterpret_cast<const float*>(kr);
        const float* v = reinterpret_cast<const float*>(f.qkv + 2 * D + h * d);
        V of_scale{};
        for (int t = 0; t < NV; t++) {
            V go[d], query[d], gq[d] = {}, delta{}, along{};
            for (int c = 0; c < d; c++) {
                go[c] = g.attended[h * d + c][t];
                query[c] = q[c][t];
                delta += go[c] * f.attended[h * d + c][t];
            }
            for (int j = 0; j < NT; j++) {
                V p = f.p[h][j][t] * f.total[h][t], gp{}, cosine{};
                UNROLL for (int c = 0; c < d; c++) gp += go[c] * v[c * NT + j], cosine += query[c] * k[c * NT + j];
                V s = p * (gp - delta);  // gradient of the similarity
                UNROLL for (int c = 0; c < d; c++) gq[c] += s * k[c * NT + j];
                of_scale += s * cosine;
                g.p[j][t] = p;
                g.similarity[j][t] = s;
                float* b = g_bias + j * NT + t * LANES;
                store(b, load(b) + s);
            }
            for (int c = 0; c < d; c++) gq[c] *= par[scale + h], along += gq[c] * query[c];
            for (int c = 0; c < d; c++) g.qkv[h * d + c][t] = (gq[c] - query[c] * along) * f.rate[h][t];
        }
        *g_scale += sum(of_scale);
        Rows *gk = g.qkv + D + h * d, *gv = gk + D;
        for (int j = 0; j < NT; j++) {
            V k_sum[d] = {}, v_sum[d] = {};
            for (int t = 0; t < NV; t++)
                UNROLL for (int c = 0; c < d; c++) {
                    k_sum[c] += g.similarity[j][t] * q[c][t];
                    v_sum[c] += g.p[j][t] * g.attended[h * d + c][t];
                }
            for (int c = 0; c < d; c++) {
                reinterpret_cast<float*>(gk)[c * NT + j] = sum(k_sum[c]) * par[scale + h];
                reinterpret_cast<float*>(gv)[c * NT + j] = sum(v_sum[c]);
            }
        }
        for (int t = 0; t < NV; t++) {
            V along{};
            for (int c = 0; c < d; c++) along += gk[c][t] * kr[c][t];
            for (int c = 0; c < d; c++) gk[c][t] = (gk[c][t] - kr[c][t] * along) * f.rate[HEADS + h][t];
        }
    }

    // g.out -> gradient of x in g.y1; adds those of the parameters to `sums` (as packed) and of the bias to `g_bias`.
    static void backward(const float* par, const Forward& f, float* sums, float* g_bias, Backward& g) {
        layer_norm_backward(g.out, f.normed2, f.rate2, par + gamma2, g.m, sums + gamma2, sums + beta2);
        linear_parameters<D, HIDDEN>(g.m, f.active, sums + fc2_w, sums + fc2_b);
        linear<HIDDEN, D>(g.fc2_t, nullptr, g.m, g.hidden);
        for (int c = 0; c < HIDDEN; c++)
            for (int t = 0; t < NV; t++) g.hidden[c][t] *= f.slope[c][t];
        linear_parameters<HIDDEN, D>(g.hidden, f.y1, sums + fc1_w, sums + fc1_b);
        std::memcpy(g.y1, g.out, sizeof g.y1);
        linear<D, HIDDEN, true>(g.fc1_t, nullptr, g.hidden, g.y1);
        layer_norm_backward(g.y1, f.normed1, f.rate1, par + gamma1, g.a, sums + gamma1, sums + beta1);
        linear_parameters<D, D>(g.a, f.attended, sums + proj_w, sums + proj_b);
        linear<D, D>(g.proj_t, nullptr, g.a, g.attended);
        for (int h = 0; h < HEADS; h++) attend_backward(par, h, f, sums + scale + h, g_bias + h * NT * NT, g);
        linear_parameters<3 * D, D>(g.qkv, f.x, sums + qkv_w, sums + qkv_b);
        linear<D, 3 * D, true>(g.qkv_t, nullptr, g.qkv, g.y1);
    }

    static void read(const float* x, const Windows& w, long n, Rows* rows) {
        float(*r)[NT] = reinterpret_cast<float(*)[NT]>(rows);
        w.each_pixel(n, [&](int token, long pixel) {
            for (int c = 0; c < D; c++) r[c][token] = x[pixel * D + c];
        });
    }

    static void write(float* x, const Windows& w, long n, const Rows* rows) {
        const float(*r)[NT] = reinterpret_cast<const float(*)[NT]>(rows);
        w.each_pixel(n, [&](int token, long pixel) {
            for (int c = 0; c < D; c++) x[pixel * D + c] = r[c][token];
        });
    }

    static void run_forward(const float* x, float* y, const Windows& w, long count, const float* par, int threads) {
        Team team(threads);
        team.run([&](int) {
            auto f = std::make_unique<Forward>();
            team.share(PARTS, [&](int part) {
                for (long n = count * part / PARTS; n < count * (part + 1) / PARTS; n++) {
                    read(x, w, n, f->x);
                    forward(par, par + bias + w.kind(n) * bias_size, *f);
                    write(y, w, n, f->out);
                }
            });
        });
    }

    // sums: [PARTS][size of the packed parameters], zeroed by the caller.
    static void run_backward(const float* x, const float* gy, float* gx, const Windows& w, long count, const float* par,
                             float* sums, long size, int threads) {
        Team team(threads);
        team.run([&](int) {
            auto f = std::make_unique<Forward>();
            auto g = std::make_unique<Backward>();
            transpose<3 * D, D>(par + qkv_w, g->qkv_t);
            transpose<D, D>(par + proj_w, g->proj_t);
            transpose<HIDDEN, D>(par + fc1_w, g->fc1_t);
            transpose<D, HIDDEN>(par + fc2_w, g->fc2_t);
            team.share(PARTS, [&](int part) {
                float* own = sums + part * size;
                for (long n = count * part / PARTS; n < count * (part + 1) / PARTS; n++) {
                    const long b = bias + w.kind(n) * bias_size;
                    read(x, w, n, f->x);
                    read(gy, w, n, g->out);
                    forward(par, par + b, *f);
                    backward(par, *f, own, own + b, *g);
                    write(gx, w, n, g->y1);
                }
            });
        });
    }
};

typedef BlockGradient<24, 4, 48> PublishedBlock;

}  // namespace hvr
