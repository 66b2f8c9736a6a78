// Feature maps and the making of a convolution's input rows: everything elementwise that stands before a convolution
// happens here, row by row, while the row is brought into the cache.
#pragma once
#include "window.h"

namespace hvr {

// A feature map: pixel x of row y and channel c is row(y)[c * stride + x]. Either [H][C][stride], rows padded up to whole
// vectors, or planes [C][H][W] as PyTorch has them, without padding: those only as a plain source and as an output.
struct Map {
    float* data;
    int C, H, W;
    long stride, pitch;  // floats from channel to channel, from row to row
    bool planes;
    float* row(int y) const { return data + (long)y * pitch; }
};

inline Map make_map(float* data, int C, int H, int W) {
    const long stride = round_up(W, LANES);
    return {data, C, H, W, stride, C * stride, false};
}

inline Map make_planes(const float* data, int C, int H, int W) {
    return {const_cast<float*>(data), C, H, W, (long)H * W, W, true};
}

// Per channel: activation(x) = LeakyReLU(scale * x + shift), the GroupNorm of the layer before.
struct Norm {
    const float* scale;
    const float* shift;
};

enum class Kind {
    PLAIN,       // a
    SUM,         // a + b
    ACTIVATED,   // activation(a)
    POOLED,      // 2x2 maximum of activation(a)
    UPSAMPLED,   // bilinear x2 (align_corners) of activation(a)
    LAYER_NORM,  // LayerNorm(a)
    IMAGE,       // the photo's three planes [3][H][W] and a plane of ones
};

struct Source {
    Kind kind;
    Map a, b;
    Norm norm;
    Affine affine;
    int channels() const { return kind == Kind::IMAGE ? 4 : a.C; }
};

// Rows of a convolution's input: [channel][pitch], pixel x at LANES + x, zeros beside the picture.
inline long row_pitch(int W) { return round_up(W, LANES) + 2 * LANES; }

inline void clear_sides(float* row, int channels, int W, long pitch) {
    for (int c = 0; c < channels; c++, row += pitch) {
        std::memset(row, 0, LANES * sizeof(float));
        std::memset(row + LANES + W, 0, (pitch - LANES - W) * sizeof(float));
    }
}

// to[x] = LeakyReLU(from[x] * scale + shift)
inline void activate(const float* from, float* to, long n, float scale, float shift) {
    for (long x = 0; x < n; x += LANES) store(to + x, leaky(load(from + x) * scale + shift));
}

inline void pooled_row(const Source& s, int y, float* to, long pitch, float* scratch) {
    const Map& a = s.a;
    float *upper = scratch, *lower = scratch + a.stride;
    for (int c = 0; c < a.C; c++) {
        activate(a.row(2 * y) + c * a.stride, upper, a.stride, s.norm.scale[c], s.norm.shift[c]);
        activate(a.row(2 * y + 1) + c * a.stride, lower, a.stride, s.norm.scale[c], s.norm.shift[c]);
        for (long x = 0; x < a.stride; x += LANES) store(upper + x, max(load(upper + x), load(lower + x)));
        float* out = to + c * pitch + LANES;
        for (int x = 0; x < a.W / 2; x++) out[x] = upper[2 * x] > upper[2 * x + 1] ? upper[2 * x] : upper[2 * x + 1];
    }
}

// Where row (or column) `o` of the doubled picture lies between the n rows of the small one: i and i + 1, weight of the latter.
inline void upsample_position(int o, int n, int& i, float& weight) {
    int k = o / 2, last = 2 * n - 1;
    if (o % 2) {
        i = k, weight = (float)((double)(n - 1 - k) / last);
    } else {
        i = k - 1, weight = (float)(1.0 - (double)k / last);
    }
    if (i < 0) i = 0, weight = 0.f;
    if (i >= n - 1) i = n - 1, weight = 0.f;
}

inline void upsampled_row(const Source& s, int y, float* to, long pitch, float* scratch) {
    const Map& a = s.a;
    const int w = a.W;
    int i;
    float f;
    upsample_position(y, a.H, i, f);
    const int below = i + 1 < a.H ? i + 1 : i;
    float *mixed = scratch + LANES, *lower = mixed + a.stride + LANES;  // mixed has a neighbour on either side
    float *even = lower + a.stride, *odd = even + a.stride;             // weights of the right-hand neighbour
    for (int x = 0; x < w; x++) {
        even[x] = (float)((double)x / (2 * w - 1));                     // here: of the left-hand one
        odd[x] = (float)((double)(w - 1 - x) / (2 * w - 1));
    }
    for (int c = 0; c < a.C; c++) {
        activate(a.row(i) + c * a.stride, mixed, a.stride, s.norm.scale[c], s.norm.shift[c]);
        activate(a.row(below) + c * a.stride, lower, a.stride, s.norm.scale[c], s.norm.shift[c]);
        for (long x = 0; x < a.stride; x += LANES) {
            V m = load(mixed + x);
            store(mixed + x, m + f * (load(lower + x) - m));
        }
        mixed[-1] = mixed[0], mixed[w] = mixed[w - 1];
        float* __restrict out = to + c * pitch + LANES;
        for (int x = 0; x < w; x++) {
            out[2 * x] = mixed[x] + even[x] * (mixed[x - 1] - mixed[x]);
            out[2 * x + 1] = mixed[x] + odd[x] * (mixed[x + 1] - mixed[x]);
        }
    }
}

inline long row_scratch(int W) { return 8 * (round_up(W, LANES) + 2 * LANES); }

// Row y of a source -> to [channels][pitch]. `kept` replaces row y of map a where that is already overwritten (or null).
inline void make_row(const Source& s, int y, const float* kept, float* to, long pitch, float* scratch) {
    const Map& a = s.a;
    const float* from = kept ? kept : s.kind == Kind::IMAGE ? nullptr : a.row(y);
    int W = a.W;
    switch (s.kind) {
        case Kind::PLAIN:
        case Kind::LAYER_NORM:
            for (int c = 0; c < a.C; c++)
                std::memcpy(to + c * pitch + LANES, from + c * a.stride, (a.planes ? a.W : a.stride) * sizeof(float));
            if (s.kind == Kind::LAYER_NORM) layer_norm(to + LANES, pitch, a.C, (int)(a.stride / LANES), s.affine);
            break;
        case Kind::SUM:
            for (int c = 0; c < a.C; c++)
                for (long x = 0; x < a.stride; x += LANES)
                    store(to + c * pitch + LANES + x, load(from + c * a.stride + x) + load(s.b.row(y) + c * a.stride + x));
            break;
        case Kind::ACTIVATED:
            for (int c = 0; c < a.C; c++)
                activate(from + c * a.stride, to + c * pitch + LANES, a.stride, s.norm.scale[c], s.norm.shift[c]);
            break;
        case Kind::POOLED:
            pooled_row(s, y, to, pitch, scratch);
            W = a.W / 2;
            break;
        case Kind::UPSAMPLED:
            upsampled_row(s, y, to, pitch, scratch);
            W = a.W * 2;
            break;
        case Kind::IMAGE:
            for (int c = 0; c < 3; c++)
                std::memcpy(to + c * pitch + LANES, a.data + ((long)c * a.H + y) * a.W, a.W * sizeof(float));
            for (int x = 0; x < a.W; x++) to[3 * pitch + LANES + x] = 1.f;
            break;
    }
    clear_sides(to, s.channels(), W, pitch);
}

}  // namespace hvr
