"""What the page shows, as HTML: progress, before and after, the steps, the files. Texts are escaped: names come from people."""
from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import quote

from engine.page.job import Pair, Progress, Result

EMPTY = '<p class="hvr-empty">Drop a dark photo, or try a sample.</p>'


def address(file: Path) -> str:
    """Of a file below the page's folder, relative to the page."""
    return f"gradio_api/file={quote(str(file))}"


def status(progress: Progress) -> str:
    """One line of what goes on, and one for each photo that failed."""
    failed = "".join(f'<p class="hvr-failed" role="alert">failed: {escape(reason)}</p>' for reason in progress.failed)
    value = "" if progress.share is None else f' value="{progress.share:.3f}"'
    bar = "" if progress.done else f'<progress aria-label="Progress" max="1"{value}></progress>'
    return f'{bar}<p class="hvr-words">{escape(progress.text)}</p>{failed}'


def compare(pair: Pair | None) -> str:
    """Before and after, one over the other, with a slider that the keyboard moves too."""
    if pair is None:
        return EMPTY
    name = escape(pair.name)
    what = "a preview" if pair.preview else f"{pair.width}x{pair.height} pixels"
    return f"""<figure class="hvr-compare">
<div class="hvr-stack" style="aspect-ratio: {pair.width} / {pair.height}; --shape: {pair.width / pair.height:.4f}">
<img src="{address(pair.after)}" alt="{name}, enhanced">
<img class="hvr-before" src="{address(pair.before)}" alt="{name}, as it was">
<span class="hvr-tag hvr-left" aria-hidden="true">before</span><span class="hvr-tag hvr-right" aria-hidden="true">after</span>
<input type="range" min="0" max="100" value="50" aria-label="How much of the picture shows it before, from the left">
</div><figcaption>{name}: {what}</figcaption></figure>"""


def steps(files: Iterable[Path]) -> str:
    """The input and what the picture looks like after each H step, in a row."""
    captions = ("input", *(f"after step {number}" for number in range(1, 1000)))
    items = [f'<li><img src="{address(file)}" alt="{caption}"><span>{caption}</span></li>'
             for file, caption in zip(files, captions, strict=False)]
    if not items:
        return ""
    return ('<h3>How it got there</h3><ol class="hvr-strip" tabindex="0" aria-label="Steps of the recursion">'
            f'{"".join(items)}</ol>')


def downloads(progress: Progress) -> str:
    """Links to the results, all in one file first."""
    if not progress.results:
        return ""
    pack = ""
    if progress.zip_file is not None:
        count = len(progress.results)
        pack = f'<p>{_link(progress.zip_file, f"Download all {count} as a ZIP file", "hvr-download")}</p>'
    if len(progress.results) == 1:
        result, = progress.results
        return f'<p>{_link(result.file, f"Download {result.file.name}", "hvr-download")} {_size(result)}</p>'
    items = "".join(f'<li><img src="{address(result.look)}" alt=""><span>{_link(result.file, result.name)} {_size(result)}'
                    "</span></li>" for result in progress.results)
    return f'{pack}<ul class="hvr-results">{items}</ul>'


def _link(file: Path, text: str, kind: str = "") -> str:
    return f'<a class="{kind}" href="{address(file)}" download="{escape(file.name)}">{escape(text)}</a>'


def _size(result: Result) -> str:
    amount = f"{result.size / 1e6:.1f} MB" if result.size >= 1e5 else f"{result.size / 1e3:.1f} kB"
    return f"<small>{result.width}x{result.height}, {amount}</small>"
