// The L and H step and the head of HVR on the CPU, float32, one picture at a time, with as few passes over memory as
// GroupNorm allows; C interface for ctypes (models/kernels/cpu/library.py). Formulas: models/unetpp.py, models/swin2sr.py.
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "block_gradient.h"
#include "conv_gradient.h"
#include "weights.h"

namespace hvr {

// Memory of a step: feature maps, what the threads share, and a part for each thread.
struct Workspace {
    float *full[2], *half, *quarter;  // maps [H][D or f][W], one of 2 f at half and one of 4 f at quarter size
    double* statistics;
    float *norms, *kept, *scratch;
    long each;                        // floats of scratch of one thread
    float* of(int thread) const { return scratch + thread * each; }
};

inline long larger(long a, long b) { return a > b ? a : b; }

inline long map_floats(int C, int H, int W) { return H * C * round_up(W, LANES) + 4 * LANES; }

inline long kept_floats(int C, int H, int W) { return 2L * band_count(H) * C * round_up(W, LANES) + 4 * LANES; }

// Carves the workspace out of `memory` and returns its size in floats; null only measures.
inline long arrange(const Dims& n, int H, int W, int threads, float* memory, Workspace& w) {
    long used = 0;
    auto take = [&](long count) {
        float* p = memory ? memory + used : nullptr;
        used += round_up(count, 16);
        return p;
    };
    const int f = n.f, widest = f > n.D ? f : n.D;
    for (float*& map : w.full) map = take(map_floats(widest, H, W));
    w.half = take(map_floats(2 * f, H / 2, W / 2));
    w.quarter = take(map_floats(4 * f, H / 4, W / 4));
    w.statistics = reinterpret_cast<double*>(take(4L * band_count(H) * 4 * f));
    w.norms = take(12 * 2 * 4 * f);
    w.kept = take(larger(kept_floats(f, H, W), larger(kept_floats(2 * f, H / 2, W / 2), kept_floats(4 * f, H / 4, W / 4))));
    long each = larger(conv_scratch(4 * f, f, W), conv_scratch(4 + n.D, f, W));
    each = larger(each, larger(conv_scratch(6 * f, 2 * f, W / 2), conv_scratch(4 * f, 4 * f, W / 4)));
    each = larger(each, conv_scratch(n.D, n.D, W));
    each = larger(each, window_scratch(n.D, n.hidden) + n.D * TOKENS);
    w.each = round_up(larger(each, 2L * widest * row_pitch(W)), 16);
    w.scratch = take(w.each * threads);
    return used;
}

// zL <- zL + L(embed(x), zL + zH). x [3][H][W]; zH, zL maps. Names of the maps as in models/unetpp.py.
class LStep {
  public:
    LStep(const Weights& weights, const float* x, Map zH, Map zL, const Workspace& w)
        : net(weights.L), groups(weights.dims.groups), w(w), zH(zH), zL(zL) {
        const int f = weights.dims.f, H = zH.H, W = zH.W;
        image = make_planes(x, 3, H, W);
        for (int i = 0; i < 2; i++) full[i] = make_map(w.full[i], f, H, W);
        half = make_map(w.half, 2 * f, H / 2, W / 2);
        quarter = make_map(w.quarter, 4 * f, H / 4, W / 4);
    }

    void run(Team& team, int thread) {
        const Source x00 = normed(full[0], 1), x10 = normed(half, 3), x20 = normed(quarter, 5), x01 = normed(full[1], 7),
                     x11 = normed(half, 9);
        convolve(team, thread, 0, {{Kind::IMAGE, image, {}, {}, {}}, {Kind::SUM, zH, zL, {}, {}}}, full[0], false);
        again(team, thread, 1, full[0]);
        convolve(team, thread, 2, {as(Kind::POOLED, x00)}, half, false);
        again(team, thread, 3, half);
        convolve(team, thread, 4, {as(Kind::POOLED, x10)}, quarter, false);
        again(team, thread, 5, quarter);
        convolve(team, thread, 6, {x00, as(Kind::UPSAMPLED, x10)}, full[1], false);
        again(team, thread, 7, full[1]);
        convolve(team, thread, 8, {x10, as(Kind::UPSAMPLED, x20)}, half, true);
        again(team, thread, 9, half);
        convolve(team, thread, 10, {x00, x01, as(Kind::UPSAMPLED, x11)}, full[0], true);
        again(team, thread, 11, full[0]);
        team.share(zL.H, [&](int y) { update(y, w.of(thread)); });
    }

  private:
    const LNet& net;
    const int groups;
    const Workspace& w;
    Map image, zH, zL, full[2], half, quarter;

    float* scale(int i) const { return w.norms + i * 8 * full[0].C; }
    float* shift(int i) const { return scale(i) + 4 * full[0].C; }

    // The activated output of convolution i, which lies raw in `map`.
    Source normed(const Map& map, int i) const { return {Kind::ACTIVATED, map, {}, {scale(i), shift(i)}, {}}; }
    static Source as(Kind kind, Source s) {
        s.kind = kind;
        return s;
    }

    void convolve(Team& team, int thread, int i, std::vector<Source> sources, const Map& out, bool in_place) {
        const Stage stage{sources.data(), (int)sources.size(), net.conv[i], out, in_place, {nullptr, nullptr}, w.statistics};
        run_stage(stage, team, w.kept, w.of(thread),
                  [&] { group_norm(w.statistics, out, groups, net.norm[i], scale(i), shift(i)); });
    }

    // The second convolution of a block.
    void again(Team& team, int thread, int i, const Map& map) { convolve(team, thread, i, {normed(map, i - 1)}, map, true); }

    void update(int y, float* scratch) {
        const Map& a = full[0];
        float *activated = scratch, *change = scratch + a.C * a.stride;
        for (int c = 0; c < a.C; c++)
            activate(a.row(y) + c * a.stride, activated + c * a.stride, a.stride, scale(11)[c], shift(11)[c]);
        apply(net.last, activated, a.stride, change, a.stride, (int)(a.stride / LANES));
        float* z = zL.row(y);
        for (long i = 0; i < zL.C * zL.stride; i += LANES) store(z + i, load(z + i) + load(change + i));
    }
};

// zH <- H(zH + zL).
class HStep {
  public:
    HStep(const Weights& weights, Map zH, Map zL, const Workspace& w) : net(weights.H), w(w), zH(zH), zL(zL) {
        for (int i = 0; i < 2; i++) map[i] = make_map(w.full[i], zH.C, zH.H, zH.W);
    }

    void run(Team& team, int thread) {
        team.share(zH.H, [&](int y) { embed(y, w.of(thread)); });
        for (const HLayer& layer : net.layers) {
            for (size_t j = 0; j < layer.blocks.size(); j++)
                team.share(zH.H / SIDE, [&](int row) { windows(layer.blocks[j], row, map[j > 0], w.of(thread)); });
            const Source blocks{Kind::PLAIN, map[1], {}, {}, {}};
            const Stage residual{&blocks, 1, layer.conv, map[0], false, {&map[0], nullptr}, nullptr};
            run_stage(residual, team, nullptr, w.of(thread), [] {});
        }
        const Source features{Kind::LAYER_NORM, map[0], {}, {}, net.norm};
        const Stage last{&features, 1, net.last, zH, false, {&zH, &zL}, nullptr};
        run_stage(last, team, nullptr, w.of(thread), [] {});
    }

  private:
    const HNet& net;
    const Workspace& w;
    Map zH, zL, map[2];

    void embed(int y, float* sum) {
        const float *a = zH.row(y), *b = zL.row(y);
        for (long i = 0; i < zH.C * zH.stride; i += LANES) store(sum + i, load(a + i) + load(b + i));
        const int vectors = (int)(zH.stride / LANES);
        apply(net.embed, sum, zH.stride, map[0].row(y), zH.stride, vectors);
        layer_norm(map[0].row(y), zH.stride, zH.C, vectors, net.embed_norm);
    }

    // One row of windows of `from` -> map[1] at the same places.
    void windows(const SwinBlock& block, int row, const Map& from, float* scratch) {
        float* x = scratch + window_scratch(block.dim, block.hidden);
        const int shift = block.shifted ? SIDE / 2 : 0, rows = zH.H / SIDE, columns = zH.W / SIDE;
        for (int column = 0; column < columns; column++) {
            const int top = row * SIDE + shift, left = column * SIDE + shift;
            const int kind = block.shifted ? 2 * (row == rows - 1) + (column == columns - 1) : 0;
            copy_window<false>(from, top, left, x);
            swin_window(block, x, kind, scratch);
            copy_window<true>(map[1], top, left, x);
        }
    }

    // Window at (top, left), which may run over the border where it wraps around, -> x [C][64], or back.
    template <bool TO_MAP>
    static void copy_window(const Map& map, int top, int left, float* x) {
        const int inside = map.W - left;  // columns before the border
        for (int r = 0; r < SIDE; r++) {
            float* row = map.row((top + r) % map.H);
            for (int c = 0; c < map.C; c++) {
                float *pixels = row + c * map.stride, *token = x + c * TOKENS + r * SIDE;
                if (inside >= SIDE) {
                    copy<TO_MAP>(pixels + left, token, SIDE);
                } else {
                    copy<TO_MAP>(pixels + left, token, inside);
                    copy<TO_MAP>(pixels, token + inside, SIDE - inside);
                }
            }
        }
    }

    template <bool TO_MAP>
    static void copy(float* pixels, float* token, int n) {
        std::memcpy(TO_MAP ? pixels : token, TO_MAP ? token : pixels, n * sizeof(float));
    }
};

// Rows of the picture: tanh or sigmoid of the head's 1x1 convolution. out [3][H][W].
inline void head_row(const Weights& weights, const Map& zH, int y, float* out, float* scratch) {
    for (int o = 0; o < 3; o++) {
        for (long x = 0; x < zH.stride; x += LANES) {
            V v = all(weights.head_bias[o]);
            for (int c = 0; c < zH.C; c++) v += weights.head[o * zH.C + c] * load(zH.row(y) + c * zH.stride + x);
            const V size = max(v, -v), e = exp2(size * (weights.dims.tanh ? -2 * LOG2E : -LOG2E));
            const V value = weights.dims.tanh ? (1.f - e) / (1.f + e) : 1.f / (1.f + e);
            const V other = weights.dims.tanh ? -value : e / (1.f + e);
            store(scratch + x, v < 0.f ? other : value);
        }
        std::memcpy(out + ((long)o * zH.H + y) * zH.W, scratch, zH.W * sizeof(float));
    }
}

}  // namespace hvr

extern "C" {

int hvr_lanes() { return hvr::LANES; }

// Asks for large pages behind a fresh block of memory: fewer page faults and address look-ups.
void hvr_large_pages(float* memory, long floats) {
#ifdef __linux__
    const std::uintptr_t page = 4096, start = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page;
    const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(memory + floats) / page * page;
    if (end > start) madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
#else
    (void)memory, (void)floats;
#endif
}

int hvr_supported_head(int channels) { return hvr::supported_head(channels); }

// Floats of the memory that hvr_step needs.
long hvr_workspace(const hvr::Dims* n, int H, int W, int threads) {
    hvr::Workspace w;
    return hvr::arrange(*n, H, W, threads, nullptr, w);
}

void* hvr_pack(const hvr::Dims* n, const float* const* parameters) {
    return new hvr::Weights(hvr::pack_weights(*n, parameters));
}

void hvr_free(void* weights) { delete static_cast<hvr::Weights*>(weights); }

// One step, kind 'L' or 'H', on one picture: x [3][H][W]; zH, zL [H][D][W rounded up to LANES], changed in place.
void hvr_step(const void* weights, char kind, const float* x, float* zH, float* zL, int H, int W, float* memory, int threads) {
    const hvr::Weights& all = *static_cast<const hvr::Weights*>(weights);
    hvr::Workspace w;
    hvr::arrange(all.dims, H, W, threads, memory, w);
    const hvr::Map high = hvr::make_map(zH, all.dims.D, H, W), low = hvr::make_map(zL, all.dims.D, H, W);
    hvr::Team team(threads);
    if (kind == 'L')
        team.run([&](int thread) { hvr::LStep(all, x, high, low, w).run(team, thread); });
    else
        team.run([&](int thread) { hvr::HStep(all, high, low, w).run(team, thread); });
}

// zH -> picture [3][H][W].
void hvr_head(const void* weights, const float* zH, int H, int W, float* out, float* memory, int threads) {
    const hvr::Weights& all = *static_cast<const hvr::Weights*>(weights);
    const hvr::Map map = hvr::make_map(const_cast<float*>(zH), all.dims.D, H, W);
    hvr::Team team(threads);
    team.run([&](int thread) {
        team.share(H, [&](int y) { hvr::head_row(all, map, y, out, memory + thread * map.stride); });
    });
}

// A Swin block of the published sizes with gradients: features [B][H][W][24], `packed` as BlockGradient's offsets say.
void hvr_block_forward(const float* x, float* y, int B, int H, int W, int shift, const float* packed, int threads) {
    const hvr::Windows w{H, W, shift};
    hvr::PublishedBlock::run_forward(x, y, w, B * w.per_image(), packed, threads);
}

void hvr_block_backward(const float* x, const float* gy, float* gx, int B, int H, int W, int shift, const float* packed,
                        float* sums, long size, int threads) {
    const hvr::Windows w{H, W, shift};
    hvr::PublishedBlock::run_backward(x, gy, gx, w, B * w.per_image(), packed, sums, size, threads);
}

// A 3x3 convolution without bias: x [B][in][H][W], w [out][in][3][3] -> y [B][out][H][W].
void hvr_conv(const float* x, const float* w, float* y, int B, int in, int out, int H, int W, int threads) {
    hvr::conv_planes(x, w, y, B, in, out, H, W, threads);
}

// Number of partial sums of its weights' gradient.
int hvr_conv_parts(int B, int in, int out, int H, int W) { return hvr::ConvWeights(nullptr, nullptr, B, in, out, H, W).parts(); }

// Gradient of its weights: sums [hvr_conv_parts(..)][out][in][3][3], zeroed by the caller.
void hvr_conv_weights(const float* x, const float* gy, float* sums, int B, int in, int out, int H, int W, int threads) {
    hvr::ConvWeights(x, gy, B, in, out, H, W).run(sums, threads);
}
}
