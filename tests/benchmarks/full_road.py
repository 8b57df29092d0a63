"""The full road's models at their real size with random weights, and the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image
from transformers import (
    BeitConfig,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessor,
)

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.artefacts.hashes import ArtefactHashes
from sfe_core.corpus.preprocessing import photo_work
from sfe_core.corpus.preprocessing.photo_jobs import DecodedPhoto, PhotoJob, WorkSettings
from sfe_core.corpus.preprocessing.photo_work import take_in
from sfe_core.faces.backends import load_detector
from sfe_core.faces.crop import crop_square
from sfe_core.faces.detection import Face
from sfe_core.faces.detectors.fan_landmarks import FanLandmarks
from sfe_core.faces.detectors.s3fd_boxes import S3fdBoxes
from sfe_core.faces.emoca.reconstruction import EmocaReconstructor, load_emoca
from sfe_core.faces.flame.parameters import load_flame
from sfe_core.faces.zoedepth import ZoeDepth
from tests.emoca_files import write_emoca_model
from tests.flame_files import write_flame_model

ROUNDS = 3


@dataclass
class FullRoad:
    """S3FD, FAN, EMOCA and ZoeDepth on one device, and the faces that they are shown."""

    device: str
    s3fd: Any
    fan: Any
    emoca: EmocaReconstructor
    zoedepth: Path
    face: Face  # of the photo
    photo: np.ndarray  # [H, W, 3]

    def stages(self, batch: int) -> dict[str, float]:
        """Milliseconds per photo and stage when `batch` photos go through together."""
        photos = [self.photo] * batch
        boxes = [self.face.box] * batch
        points = np.stack([self.face.landmarks] * batch)
        s3fd = S3fdBoxes(self.s3fd, self.device, batch)
        fan = FanLandmarks(self.fan, self.device, batch)
        depth = ZoeDepth(self.zoedepth, device=self.device, batch=batch)
        self.emoca.batch_size = batch
        heads = self.emoca.reconstruct(photos, points, np.array(boxes))
        scenes = [self._scene(head) for head in heads]
        views = [scene.depth_view for scene in scenes]
        work: dict[str, Callable[[], Any]] = {
            "boxes (S3FD)": lambda: s3fd.find_many(photos),
            "landmarks (FAN)": lambda: fan.find_many(photos, boxes),
            "head (EMOCA)": lambda: self.emoca.reconstruct(photos, points, np.array(boxes)),
            "depth (ZoeDepth)": lambda: depth.depth_many(views),
            "crop, ray casting and shading (CPU)": lambda: [
                self._scene(head).mesh for head in heads
            ],
        }
        return {name: 1000.0 * self._seconds(step) / batch for name, step in work.items()}

    def photos_per_second(self, batch: int, folder: Path) -> float:
        """Of `take_in`, with everything written, in one process."""
        config = PreprocessConfig(
            detector="face-alignment", reconstruction="emoca", depth="zoedepth", canvas=False
        )
        depth = ZoeDepth(self.zoedepth, device=self.device, batch=batch)
        self.emoca.batch_size = batch
        road = self

        class Detector:
            """The networks' time, and the face that random weights would not find."""

            s3fd = S3fdBoxes(road.s3fd, road.device, batch)
            fan = FanLandmarks(road.fan, road.device, batch)

            def detect_many(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
                self.s3fd.find_many(images)
                self.fan.find_many(images, [road.face.box] * len(images))
                return [[road.face] for _ in images]

        tools, original = (Detector(), self.emoca, depth), photo_work._tools
        photos = [
            DecodedPhoto(PhotoJob(folder, f"{n}.png", str(n), ""), "", self.photo)
            for n in range(batch)
        ]
        settings = WorkSettings(folder / "corpus", config, ArtefactHashes({}), 1)
        photo_work._tools = lambda config: tools
        try:
            return batch / self._seconds(lambda: take_in(photos, settings))
        finally:
            photo_work._tools = original

    def _scene(self, head: Any) -> FaceScene:
        square = crop_square(self.face.landmarks, self.face.box, "emoca")
        scene = FaceScene(self.photo, self.face.landmarks, square, 512, head, True)
        _ = scene.depth_view
        return scene

    def _seconds(self, step: Callable[[], Any]) -> float:
        best = float("inf")
        for _ in range(ROUNDS + 1):  # the first one warms up
            self._wait()
            began = time.perf_counter()
            step()
            self._wait()
            best = min(best, time.perf_counter() - began)
        return best

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


def full_road(folder: Path, device: str, small: bool = False) -> FullRoad:
    """Build the models.

    Args:
        folder: an empty one, for their files.
        device: where they go.
        small: a ZoeDepth of two layers instead of 24, to try the benchmark itself.
    """
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    torch.manual_seed(0)
    flame = write_flame_model(folder / "flame")
    template = torch.tensor(load_flame(flame).v_template).float()
    networks = write_emoca_model(folder / "EMOCA_v2_lr_mse_20", template, exp_deca_jaw_pose=True)
    photo = np.asarray(Image.fromarray(skimage.data.astronaut()))
    (face,) = load_detector("dlib").detect(photo)
    return FullRoad(
        device,
        s3fd().to(device).eval(),
        FAN(4).to(device).eval(),
        load_emoca("emoca", device, networks, flame),
        write_real_zoedepth(folder / "zoedepth", small),
        face,
        photo,
    )


def write_real_zoedepth(folder: Path, small: bool) -> Path:
    """Intel/zoedepth-nyu-kitti's architecture (BEiT-L at 384 px, two domains), random weights."""
    layers = 4 if small else 24
    backbone = BeitConfig(
        image_size=384, num_hidden_layers=layers, hidden_size=1024, intermediate_size=4096,
        num_attention_heads=16, use_relative_position_bias=True, reshape_hidden_states=False,
        out_features=[f"stage{layers * part // 4}" for part in (1, 2, 3, 4)],
    )  # fmt: skip
    bins = [
        {"n_bins": 64, "min_depth": 1e-3, "max_depth": most, "name": name}
        for name, most in (("nyu", 10.0), ("kitti", 80.0))
    ]
    config = ZoeDepthConfig(
        backbone_config=backbone, bin_configurations=bins, num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128, patch_transformer_intermediate_size=1024,
        patch_transformer_num_attention_heads=4,
    )  # fmt: skip
    ZoeDepthForDepthEstimation(config).save_pretrained(folder)
    ZoeDepthImageProcessor(size={"height": 384, "width": 512}).save_pretrained(folder)
    return folder
