"""The whole of sfe.yaml: every section, and what must hold between them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from sfe_core.config.cluster_sections import ClusterConfig
from sfe_core.config.corpus_sections import (
    CaptionsConfig,
    CorpusConfig,
    PhotosConfig,
    PreprocessConfig,
    QualityConfig,
    SplitConfig,
)
from sfe_core.config.picture_sections import EvaluateConfig, SamplingConfig, TriptychConfig
from sfe_core.config.sections import Section
from sfe_core.config.stableface_sections import GuidanceConfig, LossConfig, TrainConfig
from sfe_core.config.training_sections import DataConfig, ModelConfig


class Config(Section):
    """The whole of sfe.yaml."""

    preset: str = Field("tiny", description="what fills the keys left out")
    recipe: str = Field(
        "stableface",
        description="what is trained and how: a name, or the path of your own .py",
        exclude_if=lambda name: name == "stableface",  # as every run was before there were others
    )
    recipe_options: dict[str, Any] = Field(
        {},
        description="settings of a recipe of your own, see its file",
        exclude_if=lambda options: not options,
    )
    photos: PhotosConfig = PhotosConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    quality: QualityConfig = QualityConfig()
    corpus: CorpusConfig = CorpusConfig()
    captions: CaptionsConfig = CaptionsConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    train: TrainConfig = TrainConfig()
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    cluster: ClusterConfig = ClusterConfig()
    sampling: SamplingConfig = SamplingConfig()
    triptych: TriptychConfig = TriptychConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _judge_is_independent(self) -> Config:
        if self.evaluate.judge == self.loss.emotion_network:
            raise ValueError("evaluate.judge must not be the recogniser of loss.emotion_network")
        if self.evaluate.judge == self.photos.emotions_read_by:
            raise ValueError("evaluate.judge must not be what photos.emotions_read_by names")
        return self
