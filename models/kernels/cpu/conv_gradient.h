// A 3x3 convolution (padding 1, no bias) for training, on planes [B][C][H][W] as PyTorch has them: the convolution by bands
// of rows as in conv.h, which with flipped and transposed weights is its own gradient of the input; and the gradient of the
// weights.
#pragma once
#include <vector>

#include "conv.h"

namespace hvr {

// y = w * x; x [B][in][H][W], w [out][in][3][3], y [B][out][H][W]; in, out multiples of 4.
inline void conv_planes(const float* x, const float* w, float* y, int B, int in, int out, int H, int W, int threads) {
    std::vector<float> packed(packed_conv(in, out));
    pack_conv(w, in, out, packed.data());
    const long plane = (long)H * W;
    const int bands = band_count(H);
    Team team(threads);
    team.run([&](int) {
        std::vector<float> scratch(conv_scratch(in, out, W) + LANES);
        team.share(B * bands, [&](int task) {
            const int image = task / bands;
            const Source source{Kind::PLAIN, make_planes(x + image * in * plane, in, H, W), {}, {}, {}};
            const Map to = make_planes(y + image * out * plane, out, H, W);
            const Stage stage{&source, 1, {in, out, packed.data(), nullptr}, to, false, {nullptr, nullptr}, nullptr};
            BandConv(stage, task % bands, nullptr, scratch.data()).run();
        });
    });
}

// gw[o][c][i][j] = sum over images, y, x of gy[o][y][x] * x[c][y + i - 1][x + j - 1].
class ConvWeights {
  public:
    ConvWeights(const float* x, const float* gy, int B, int in, int out, int H, int W)
        : x(x), gy(gy), in(in), out(out), H(H), W(W), pitch(row_pitch(W)), vectors((int)(round_up(W, LANES) / LANES)) {
        rows = PIXELS / W < 1 ? 1 : PIXELS / W < H ? PIXELS / W : H;
        bands = (H + rows - 1) / rows;
        count = (long)B * bands;
    }

    // Number of partial sums; small pictures need fewer.
    int parts() const { return count < PARTS ? (int)count : PARTS; }

    // sums [parts()][out][in][9], zeroed by the caller.
    void run(float* sums, int threads) const {
        Team team(threads);
        team.run([&](int) {
            std::vector<float> input((rows + 2) * in * pitch + LANES), gradient((long)rows * out * vectors * LANES + LANES);
            team.share(parts(), [&](int part) {
                for (long n = count * part / parts(); n < count * (part + 1) / parts(); n++)
                    add_band(n, input.data(), gradient.data(), sums + (long)part * out * in * 9);
            });
        });
    }

  private:
    static constexpr int PIXELS = 1024;                     // of a band: enough for each sum over lanes at its end
    static constexpr int OB = LANES >= 16 ? 4 : 2, CB = 2;  // outputs and inputs whose 3 products each are in registers

    const float *x, *gy;
    const int in, out, H, W;
    const long pitch;
    const int vectors;
    int rows, bands;
    long count;

    // Rows y of `channels` planes -> to [channel][step], pixel 0 at `margin`, zeros around; a row outside the picture is zero.
    void copy_row(const float* planes, int channels, int y, float* to, long step, int margin) const {
        std::memset(to, 0, channels * step * sizeof(float));
        if (y >= 0 && y < H)
            for (int c = 0; c < channels; c++)
                std::memcpy(to + c * step + margin, planes + ((long)c * H + y) * W, W * sizeof(float));
    }

    void add_band(long n, float* input, float* gradient, float* own) const {
        const long image = n / bands, plane = (long)H * W;
        const int first = (int)(n % bands) * rows, size = first + rows < H ? rows : H - first;
        for (int r = -1; r <= size; r++) copy_row(x + image * in * plane, in, first + r, input + (r + 1) * in * pitch, pitch, LANES);
        for (int r = 0; r < size; r++)
            copy_row(gy + image * out * plane, out, first + r, gradient + (long)r * out * vectors * LANES, vectors * LANES, 0);
        for (int c = 0; c < in; c += CB)
            for (int o = 0; o < out; o += OB)
                for (int i = 0; i < 3; i++) add_block(input + i * in * pitch, gradient, c, o, size, own + i * 3);
    }

    // The products of OB outputs and CB inputs in one row of the kernel.
    void add_block(const float* input, const float* gradient, int c, int o, int size, float* own) const {
        V acc[OB][CB][3];
        for (auto& a : acc)
            for (auto& b : a)
                for (V& v : b) v = V{};
        for (int r = 0; r < size; r++) {
            const float* from = input + (r * in + c) * pitch + LANES - 1;
            const float* g = gradient + (long)(r * out + o) * vectors * LANES;
            for (int t = 0; t < vectors; t++, from += LANES, g += LANES) {
                V go[OB];
                UNROLL for (int a = 0; a < OB; a++) {
                    go[a] = load(g + (long)a * vectors * LANES);
                    IN_REGISTER(go[a]);
                }
                UNROLL for (int b = 0; b < CB; b++)
                    UNROLL for (int j = 0; j < 3; j++) {
                        V v = load(from + b * pitch + j);
                        IN_REGISTER(v);
                        UNROLL for (int a = 0; a < OB; a++) acc[a][b][j] += go[a] * v;
                    }
            }
        }
        for (int a = 0; a < OB; a++)
            for (int b = 0; b < CB; b++)
                for (int j = 0; j < 3; j++) own[((long)(o + a) * in + c + b) * 9 + j] += sum(acc[a][b][j]);
    }
};

}  // namespace hvr
