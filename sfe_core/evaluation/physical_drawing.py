"""Drawing what `--protocol physical` asks for, by the code of `sfe edit`, each picture once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.kinds import SHAPING_BUFFERS, shaping_settings
from sfe_core.corpus.people.albums import person_of
from sfe_core.corpus.preprocessing.single_photo import picture_of_scene
from sfe_core.diffusion.physical.pipeline import STEPS, RigPipeline, load_rig_pipeline
from sfe_core.evaluation.physical_commands import PhysicalCommand
from sfe_core.evaluation.physical_faces import PhysicalFaces
from sfe_core.files import derive_seed, sha256_file, sha256_json
from sfe_core.network_layout import to_channels_last
from sfe_core.processes.threads import ThreadWatch
from sfe_core.quiet import quiet_libraries
from sfe_core.reporting import Reporter
from sfe_core.sampling.editing.drawing import EditJob, draw_edits, to_picture
from sfe_core.sampling.editing.faces import codes_record
from sfe_core.sampling.editing.plan import EditShot, Source
from sfe_core.sampling.editing.rigs import Rig
from sfe_core.sampling.editing.sheets import buffers_strip
from sfe_core.sampling.pipelines import sampling_device, sampling_precision
from sfe_core.sampling.pngs import read_record, save_png

REDRAWS = 2  # as `sfe edit`
_Wanted = tuple[PhysicalCommand, EditShot]


@dataclass(frozen=True)
class PhysicalDrawing:
    """All pictures of the protocol by one rig.

    Attributes:
        workspace: says how pictures are drawn.
        rig: draws them.
        faces: what is asked for, with the rig's shapes.
        protocols: folder of all protocols' pictures.
        reporter: told of progress.
    """

    workspace: Workspace
    rig: Rig
    faces: PhysicalFaces
    protocols: Path
    reporter: Reporter

    @property
    def folder(self) -> Path:
        """Where this rig's pictures go."""
        return self.protocols / f"physical-{sha256_json(self._drawn_with)[:8]}"

    def draw(self, commands: Sequence[PhysicalCommand]) -> Path:
        """Draw what is missing of them; the folder.

        Raises:
            RunError: values that are not finite, out of memory, a full disk.
        """
        shots = [(command, self._shot(command)) for command in commands]
        missing = [
            (command, shot)
            for command, shot in shots
            if read_record(self.folder / shot.file) != shot.record
        ]
        if missing:
            self._draw(missing)
        return self.folder

    @property
    def _drawn_with(self) -> dict[str, Any]:
        """What decides every picture beside face and seed."""
        return {
            "rig": self.rig.sha256,
            "size": self.faces.size,
            "steps": STEPS,
            "precision": str(self._precision),
            "redraws": REDRAWS,
        }

    @property
    def _precision(self) -> torch.dtype:
        return sampling_precision(sampling_device(), self.workspace.config.sampling.precision)

    def _shot(self, command: PhysicalCommand) -> EditShot:
        photo, key = self.faces.crop(command.key), command.key
        source = Source(photo, key, sha256_file(photo), person_of(key) or None)
        edit = self.faces.edit(command)
        seed = derive_seed(self.workspace.config.sampling.seed, key, "edit")
        config = self.workspace.config.preprocess
        record = {
            "source": source.sha256,
            "edit": edit.record(),
            "seed": seed,
            "fitted": shaping_settings(config, *SHAPING_BUFFERS),
            "mean_shape": self.faces.shape_sha256(key),
            **self._drawn_with,
        }
        if (exact := self.faces.exact_sha256(command)) is not None:
            record["exact"] = exact
        return EditShot(source, edit, command.mode, seed, f"{command.name}.png", record)

    def _draw(self, shots: Sequence[_Wanted]) -> None:
        pipeline = self._pipeline()
        at_once = self.workspace.config.sampling.batch_size
        jobs = self._jobs(pipeline, shots)
        with (
            ThreadWatch(pipeline.device.type, self.reporter) as threads,
            self.reporter.task("Editing held-out photos", len(shots)) as task,
        ):
            while waiting := list(islice(jobs, at_once)):
                with threads.piece():
                    drawn = draw_edits(pipeline, waiting, STEPS, REDRAWS)
                for one in drawn:
                    shot = one.job.shot
                    path = self.folder / shot.file
                    save_png(Image.fromarray(one.picture), path, shot.record, one.remarks())
                    task.advance()

    def _jobs(self, pipeline: RigPipeline, shots: Sequence[_Wanted]) -> Iterator[EditJob]:
        """The pictures ready to be drawn, their buffers written, photo by photo."""
        for key in dict.fromkeys(command.key for command, _ in shots):
            source = self.faces.source(key)
            picture = picture_of_scene(source, self.faces.size)
            code, seen = pipeline.encode(picture[None])[0], to_picture(picture)
            for command, shot in shots:
                if command.key != key:
                    continue
                face = self.faces.face(command)
                buffers = self.faces.buffers(face)
                strip = buffers_strip(seen, buffers.numpy())
                save_png(strip, self.folder / shot.buffers, {"of": shot.record})
                heads = {"source": codes_record(source.head), "edited": codes_record(face.head)}
                yield EditJob(shot, buffers, code, seen, None, heads)

    def _pipeline(self) -> RigPipeline:
        with quiet_libraries():
            pipeline = load_rig_pipeline(self.rig.place, None, "--package")
            pipeline.to(device=sampling_device(), dtype=self._precision)
        to_channels_last(pipeline.rig)
        return pipeline
