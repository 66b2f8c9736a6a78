// The two networks' weights in the order and form that the kernels read, laid out in one block of memory.
#pragma once
#include <vector>

#include "conv.h"

namespace hvr {

constexpr int MAX_LAYERS = 16;
constexpr float LOG2E = 1.44269504f;

// Mirrored by models/kernels/cpu/library.py; all int32.
struct Dims {
    int32_t D, E, f, groups;        // latent and embedding channels, L's features and GroupNorm groups
    int32_t hidden, layers;         // H: width of a block's MLP, layers
    int32_t depths[MAX_LAYERS], heads[MAX_LAYERS];
    int32_t tanh;                   // head: 1 tanh, 0 sigmoid
};

// Takes the parameters one after another and packs them into memory of its own.
class Packer {
  public:
    explicit Packer(const float* const* parameters) : next(parameters) {}

    const float* parameter() { return *next++; }

    float* room(long n) {
        memory.emplace_back(n);
        return memory.back().data();
    }

    float* copy(long n) {
        float* to = room(n);
        std::memcpy(to, parameter(), n * sizeof(float));
        return to;
    }

    Affine affine(int n) {
        const float* gamma = copy(n);
        return {gamma, copy(n)};
    }

    Conv conv(const float* w, int in, int out, const float* bias) {
        float* to = room(packed_conv(in, out));
        pack_conv(w, in, out, to);
        return {in, out, to, bias};
    }

    Linear linear(const float* w, int in, int out, const float* bias) {
        float* to = room((long)in * out);
        for (int o = 0; o < out; o++)
            for (int c = 0; c < in; c++) to[((long)(o / OC) * in + c) * OC + o % OC] = w[(long)o * in + c];
        return {in, out, to, bias};
    }

    Linear linear(int in, int out) {
        const float* w = parameter();
        return linear(w, in, out, copy(out));
    }

    std::vector<std::vector<float>> memory;

  private:
    const float* const* next;
};

struct LNet {
    Conv conv[12];    // two of each of 0_0, 1_0, 2_0, 0_1, 1_1, 0_2
    Affine norm[12];
    Linear last;
};

struct HLayer {
    std::vector<SwinBlock> blocks;
    Conv conv;        // the layer's 3x3 convolution and the 1x1 convolution after it, as one
};

struct HNet {
    Linear embed;
    Affine embed_norm, norm;
    std::vector<HLayer> layers;
    Conv last;
};

struct Weights {
    Dims dims;
    LNet L;
    HNet H;
    const float *head, *head_bias;  // [3][D], [3]
    std::vector<std::vector<float>> memory;
};

// The first convolution on [x, 1, z] instead of [embed(x), z]: the embedding is linear in x and 1, and is zero outside the
// picture as those are. w [f][E + D][3][3] -> [f][4 + D][3][3].
inline std::vector<float> merge_embedding(const Dims& n, const float* w, const float* embed, const float* bias) {
    std::vector<float> to((long)n.f * (4 + n.D) * 9);
    for (int o = 0; o < n.f; o++)
        for (int k = 0; k < 9; k++) {
            const float* from = w + (long)o * (n.E + n.D) * 9 + k;
            float* out = to.data() + (long)o * (4 + n.D) * 9 + k;
            for (int c = 0; c < 4; c++) {
                double sum = 0;
                for (int e = 0; e < n.E; e++) sum += (double)from[e * 9] * (c < 3 ? embed[e * 3 + c] : bias[e]);
                out[c * 9] = (float)sum;
            }
            for (int d = 0; d < n.D; d++) out[(4 + d) * 9] = from[(n.E + d) * 9];
        }
    return to;
}

inline LNet pack_L(Packer& p, const Dims& n, const float* embed, const float* embed_bias) {
    LNet net;
    const int f = n.f, in[6] = {4 + n.D, f, 2 * f, 3 * f, 6 * f, 4 * f}, out[6] = {f, 2 * f, 4 * f, f, 2 * f, f};
    for (int b = 0; b < 6; b++)
        for (int i = 0; i < 2; i++) {
            const float* w = p.parameter();
            std::vector<float> merged;
            if (b == 0 && i == 0) merged = merge_embedding(n, w, embed, embed_bias), w = merged.data();
            net.conv[2 * b + i] = p.conv(w, i ? out[b] : in[b], out[b], nullptr);
            net.norm[2 * b + i] = p.affine(out[b]);
        }
    net.last = p.linear(f, n.D);
    return net;
}

// Position bias and mask [kind][head][query][key] -> [kind][head][key][query] in units of log 2. Where the similarities of
// a head span less than 80 (natural units), their upper bound is subtracted at once, and no maximum is sought at run time.
inline void pack_bias(const float* bias, int kinds, int heads, const float* factor, float* scale, float* bound, float* to) {
    const long size = TOKENS * TOKENS;
    for (int h = 0; h < heads; h++) {
        const float* first = bias + h * size;
        float low = first[0], high = first[0];
        for (long i = 0; i < size; i++) low = first[i] < low ? first[i] : low, high = first[i] > high ? first[i] : high;
        bound[h] = 2 * factor[h] + high - low < 80.f;
        scale[h] = factor[h] * LOG2E;
        const float less = bound[h] ? factor[h] + high : 0.f;
        for (int kind = 0; kind < kinds; kind++)
            for (int i = 0; i < TOKENS; i++)
                for (int j = 0; j < TOKENS; j++)
                    to[((long)kind * heads + h) * size + j * TOKENS + i] =
                        (bias[((long)kind * heads + h) * size + i * TOKENS + j] - less) * LOG2E;
    }
}

inline SwinBlock pack_block(Packer& p, const Dims& n, int heads, bool shifted) {
    SwinBlock b{n.D, heads, n.hidden, shifted, {}, {}, {}, {}, {}, {}, {}, {}, {}};
    const int D = n.D, kinds = shifted ? 4 : 1;
    const float* w = p.parameter();
    float* qkv_bias = p.room(3 * D);
    const float *q_bias = p.parameter(), *v_bias = p.parameter();
    for (int c = 0; c < D; c++) qkv_bias[c] = q_bias[c], qkv_bias[D + c] = 0, qkv_bias[2 * D + c] = v_bias[c];
    b.qkv = p.linear(w, D, 3 * D, qkv_bias);
    const float *factor = p.parameter(), *bias = p.parameter();
    float *scale = p.room(heads), *bound = p.room(heads);
    float* packed = p.room((long)kinds * heads * TOKENS * TOKENS);
    pack_bias(bias, kinds, heads, factor, scale, bound, packed);
    b.scale = scale, b.bound = bound, b.bias = packed;
    b.proj = p.linear(D, D);
    b.norm1 = p.affine(D);
    b.fc1 = p.linear(D, n.hidden);
    b.fc2 = p.linear(n.hidden, D);
    b.norm2 = p.affine(D);
    return b;
}

// 3x3 convolution followed by a 1x1 convolution = one 3x3 convolution.
inline Conv pack_merged(Packer& p, int D) {
    const float *w = p.parameter(), *b = p.parameter(), *w1 = p.parameter(), *b1 = p.parameter();
    float* bias = p.room(D);
    std::vector<float> merged((long)D * D * 9);
    for (int o = 0; o < D; o++) {
        double sum = b1[o];
        for (int m = 0; m < D; m++) sum += (double)w1[o * D + m] * b[m];
        bias[o] = (float)sum;
        for (int i = 0; i < D * 9; i++) {
            double total = 0;
            for (int m = 0; m < D; m++) total += (double)w1[o * D + m] * w[(long)m * D * 9 + i];
            merged[(long)o * D * 9 + i] = (float)total;
        }
    }
    return p.conv(merged.data(), D, D, bias);
}

inline HNet pack_H(Packer& p, const Dims& n) {
    HNet net;
    net.embed = p.linear(n.D, n.D);
    net.embed_norm = p.affine(n.D);
    for (int l = 0; l < n.layers; l++) {
        HLayer layer;
        for (int j = 0; j < n.depths[l]; j++) layer.blocks.push_back(pack_block(p, n, n.heads[l], j % 2 == 1));
        layer.conv = pack_merged(p, n.D);
        net.layers.push_back(layer);
    }
    net.norm = p.affine(n.D);
    const float* w = p.parameter();
    const float* bias = p.copy(n.D);
    net.last = p.conv(w, n.D, n.D, bias);
    return net;
}

// Order of the parameters: embedding weight, bias; L; H; head weight, bias (models/kernels/cpu/recursion.py lists them).
inline Weights pack_weights(const Dims& n, const float* const* parameters) {
    Packer p(parameters);
    Weights all{n, {}, {}, nullptr, nullptr, {}};
    const float *embed = p.parameter(), *embed_bias = p.parameter();
    all.L = pack_L(p, n, embed, embed_bias);
    all.H = pack_H(p, n);
    all.head = p.copy(3 * n.D);
    all.head_bias = p.copy(3);
    all.memory = std::move(p.memory);
    return all;
}

}  // namespace hvr
