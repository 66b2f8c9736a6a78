"""How the result is encoded: the options of the command line, checked before anything is computed."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from engine.video.errors import VideoError, require_pyav

if TYPE_CHECKING:
    import av

SHORT_NAMES = {"h264": "libx264", "avc": "libx264", "h265": "libx265", "hevc": "libx265", "vp9": "libvpx-vp9",
               "av1": "libsvtav1"}
WITH_CRF = ("libx264", "libx265", "libvpx-vp9", "libvpx", "libsvtav1", "libaom-av1")
WITH_PRESET = ("libx264", "libx265", "libsvtav1", "h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv")
# Of x265: no pictures that refer across a key frame, where --resume goes on; and only its errors.
PRIVATE = {"libx265": {"x265-params": "open-gop=0:log-level=error"}}
SECONDS_PER_KEY_FRAME = 2  # what an interruption loses at most


@dataclass(frozen=True)
class Encoding:
    """codec: FFmpeg's name of an encoder. crf: constant quality, 0 the best; None: the encoder's own. preset: speed against
    size, by the encoder's own names; None: its own. pix_fmt: FFmpeg's name of a pixel format."""

    codec: str = "libx264"
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str = "yuv420p"

    @classmethod
    def of(cls, codec: str, crf: float | None, preset: str | None, pix_fmt: str) -> Encoding:
        """Checked. Raises VideoError for an unknown encoder or format, and for options that the encoder does not have."""
        require_pyav()
        import av

        codec = SHORT_NAMES.get(codec.lower(), codec)
        try:
            encoder = av.codec.Codec(codec, "w")
        except ValueError:
            encoder = None
        if encoder is None or encoder.type != "video":
            raise VideoError(f"--codec {codec}: this PyAV has no such video encoder; known by short names: "
                             f"{', '.join(SHORT_NAMES)}")
        formats = [form.name for form in encoder.video_formats or ()]
        try:
            av.VideoFormat(pix_fmt)
        except ValueError:
            raise VideoError(f"--pix_fmt {pix_fmt}: FFmpeg knows no such format; {codec} takes: "
                             f"{', '.join(formats)}") from None
        if formats and pix_fmt not in formats:
            raise VideoError(f"--pix_fmt {pix_fmt}: {codec} takes: {', '.join(formats)}")
        for option, value, owners in (("--crf", crf, WITH_CRF), ("--preset", preset, WITH_PRESET)):
            if value is not None and codec not in owners:
                raise VideoError(f"{option} {value}: {codec} has no such option; it is one of: {', '.join(owners)}")
        return cls(codec, crf, preset, pix_fmt)

    def options(self) -> dict[str, str]:
        """For PyAV."""
        given = {"crf": None if self.crf is None else f"{self.crf:g}", "preset": self.preset}
        return {name: value for name, value in given.items() if value is not None} | PRIVATE.get(self.codec, {})

    def record(self) -> dict[str, Any]:
        return asdict(self)

    def open(self, stream: av.VideoStream, size: tuple[int, int], time_base: Fraction, rate: Fraction, aspect: Fraction,
             colour: Any) -> None:
        """Set up a new output stream for frames of `size` (width, height) and `colour`. Raises VideoError."""
        import av

        context = stream.codec_context
        stream.width, stream.height = size
        stream.pix_fmt = self.pix_fmt
        context.time_base = time_base
        context.sample_aspect_ratio = aspect
        context.gop_size = max(round(SECONDS_PER_KEY_FRAME * rate), 1)
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        rgb = av.VideoFormat(self.pix_fmt).is_rgb
        context.colorspace, context.color_range = (0, 2) if rgb else (colour.matrix, colour.range)
        if self.codec in ("libvpx", "libvpx-vp9") and self.crf is not None:
            context.bit_rate = 0
        try:
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            settings = ", ".join(f"{name} {value}" for name, value in self.options().items() if name in ("crf", "preset"))
            raise VideoError(f"the encoder {self.codec} cannot be opened for {size[0]}x{size[1]} {self.pix_fmt}"
                             f"{' with ' + settings if settings else ''}: {getattr(error, 'strerror', error)}") from None
