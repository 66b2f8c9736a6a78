// The inner loop of every convolution and linear layer: 4 output channels x NV vectors of pixels in registers.
#pragma once
#include <type_traits>

#include "lanes.h"

namespace hvr {

constexpr int OC = 4;      // output channels at once
constexpr int MAX_NV = 3;  // vectors of pixels at once

// acc[o][i] = sum over input channels c and TAPS neighbours k of w[c][k][o] * in[c][i * LANES + k].
template <int NV, int TAPS>
inline void multiply(const float* __restrict in, long stride, int channels, const float* __restrict w, V acc[OC][NV]) {
    V a[OC][NV];
    UNROLL for (int o = 0; o < OC; o++)
        UNROLL for (int i = 0; i < NV; i++) a[o][i] = V{};
    for (int c = 0; c < channels; c++, in += stride) {
        UNROLL for (int k = 0; k < TAPS; k++, w += OC) {
            V x[NV];
            UNROLL for (int i = 0; i < NV; i++) {
                x[i] = load(in + k + i * LANES);
                IN_REGISTER(x[i]);  // else the compiler loads it once for each output channel
            }
            UNROLL for (int o = 0; o < OC; o++) {
                V f = all(w[o]);
                UNROLL for (int i = 0; i < NV; i++) a[o][i] += f * x[i];
            }
        }
    }
    UNROLL for (int o = 0; o < OC; o++)
        UNROLL for (int i = 0; i < NV; i++) acc[o][i] = a[o][i];
}

// Calls part(start, constant NV) for consecutive runs of 3, 2 or 1 vectors that cover `vectors`.
template <class Part>
inline void in_runs(int vectors, Part part) {
    int i = 0;
    for (; i + 3 <= vectors; i += 3) part(i, std::integral_constant<int, 3>{});
    if (vectors - i == 2) part(i, std::integral_constant<int, 2>{});
    if (vectors - i == 1) part(i, std::integral_constant<int, 1>{});
}

// A linear layer (1x1 convolution): w packed as [out/4][in][4], bias one per output or null.
struct Linear {
    int in, out;
    const float* w;
    const float* bias;
};

// y[o][x] = bias[o] + sum_c w[o][c] x[c][x] for `vectors` vectors of pixels; rows `stride` apart.
inline void apply(const Linear& layer, const float* x, long x_stride, float* y, long y_stride, int vectors) {
    in_runs(vectors, [&](int start, auto nv) {
        constexpr int NV = decltype(nv)::value;
        for (int o = 0; o < layer.out; o += OC) {
            V acc[OC][NV];
            multiply<NV, 1>(x + start * LANES, x_stride, layer.in, layer.w + (long)o * layer.in, acc);
            for (int j = 0; j < OC; j++)
                for (int i = 0; i < NV; i++)
                    store(y + (o + j) * y_stride + (start + i) * LANES, acc[j][i] + (layer.bias ? layer.bias[o + j] : 0.f));
        }
    });
}

}  // namespace hvr
