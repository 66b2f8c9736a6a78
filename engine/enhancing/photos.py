"""The photos of a plan from beginning to end: enhanced, recorded, shown on one sheet, and told."""
from __future__ import annotations

import logging
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from data.files.images import PhotoError, write_photo
from engine.enhancing.batches import batches_of
from engine.enhancing.contact_sheet import contact_sheet
from engine.enhancing.enhancer import Enhancer
from engine.enhancing.folder_job import Summary, is_there, run_job
from engine.enhancing.job_plan import Plan, describe_ignored
from engine.enhancing.job_record import JobRecord, job_settings
from engine.team import team

logger = logging.getLogger(__name__)


def enhance_photos(plan: Plan, enhancer: Enhancer, input_path: Path, output_dir: Path, weights_path: Path, *,
                   overwrite: bool = False, max_megapixels: float, sheet: Path | None = None, compare: bool = False,
                   batch_megapixels: float | None = None) -> Summary:
    """Write the results of `plan` and, into `sheet`, one picture of all of them; print what was done.

    Under a launcher all its processes make this call and share the photos; the first one prints, and its summary is of all.
    weights_path: for the record of what made the results. compare: the sheet shows inputs and results side by side.
    batch_megapixels: see `batches_of`.
    Raises JobError, with nothing written, where a file in a result's place is not known as such.
    """
    record = JobRecord(output_dir, job_settings(input_path, weights_path, quality=plan.quality, **enhancer.record()))
    with team(output_dir) as members, logging_redirect_tqdm():
        summary = run_job(plan, enhancer, overwrite=overwrite, max_megapixels=max_megapixels, record=record, team=members,
                          batches=batches_of(enhancer, batch_megapixels))
    if not members.is_main:
        if summary.orphaned:
            logger.error("the first process is gone; this one has gone on for as long as it could, and written %d: the same "
                         "command again makes what is missing", summary.written)
        return summary
    print(f"{summary}; results in {output_dir}")
    if plan.ignored:
        print(f"other files in the folder: {describe_ignored(plan.ignored)}")
    if summary.interrupted:
        print("interrupted: the same command again goes on from here" + (" (without --overwrite)" if overwrite else ""))
    elif sheet is not None:
        _write_sheet(sheet, plan, output_dir, summary, max_megapixels, compare)
    return summary


def _write_sheet(sheet: Path, plan: Plan, output_dir: Path, summary: Summary, max_megapixels: float, compare: bool) -> None:
    shown = [(task.output.relative_to(output_dir), task.compare or task.output) for task in plan.tasks]
    pictures = [(str(name), file) for name, file in shown if is_there(file)]
    if not pictures:
        return
    try:
        write_photo(sheet, contact_sheet(pictures, max_megapixels, pairs=compare))
    except PhotoError as error:
        summary.fail(sheet, str(error))
    else:
        print(f"contact sheet: {sheet}")
