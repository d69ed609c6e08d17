"""Everything that one stage trains with: its input, gradients, optimizer and pace."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from torch import nn

from sightweave.core.device import Precision
from sightweave.core.errors import RecipeError
from sightweave.models.adapters.lora import Lora
from sightweave.models.nn.block import Block
from sightweave.models.parts import PartName, choose_parts, enter_training, named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.training.context_parallel import ContextParallel
from sightweave.programs.training.durations import Pace
from sightweave.programs.training.feature_cache import FeatureCache
from sightweave.programs.training.feed import Feed, Step
from sightweave.programs.training.gradients import Gradients
from sightweave.programs.training.optimizers import Optimizer
from sightweave.programs.training.part_norms import PartNorms
from sightweave.programs.training.rates import rate_factors
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.sharding import Sharding
from sightweave.programs.training.split_model import SplitModel
from sightweave.programs.training.weight_average import WeightAverage


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that one stage trains with."""

    stage: Stage
    feed: Feed
    gradients: Gradients
    optimizer: Optimizer
    pace: Pace
    features: FeatureCache | None
    norms: PartNorms

    @classmethod
    def begin(
        cls,
        model: VLM,
        feed: Feed,
        stage: Stage,
        precision: Precision,
        *,
        spent: float,
        split: SplitModel | None = None,
        context: ContextParallel | None = None,
    ) -> Self:
        """Prepares the model for a stage.

        Args:
            model: The model.
            feed: Its input.
            stage: The stage.
            precision: Device and number format.
            spent: Seconds that the stage has already trained.
            split: The split model; None if each process has a whole one.
            context: Splits the tokens over several processes; None if each process has whole rows.

        Raises:
            RecipeError: the stage trains nothing, or its schedule does not fit its steps.
        """
        prepare(model, stage, stage.lora)
        over = None if split is None else split.over

        chosen = stage.optimizer
        try:
            factors = rate_factors(model, named_parts(model), chosen.lr_multipliers, chosen.layer_decay)
            optimizer = chosen.build(model, factors, over)
            pace = Pace(stage, spent=spent)
            if stage.ema:
                optimizer.average = WeightAverage(optimizer.own, stage.ema)
        except ValueError as error:
            raise RecipeError(f"train.stages, stage {stage.name!r}: {error}") from error
        enter_training(model, stage.parts)

        gradients = Gradients(
            model,
            list(optimizer.parameters.values()),
            stage,
            precision,
            feed.world,
            split,
            feed.stand_in() if isinstance(split, Sharding) else None,
            context,
        )
        features = None
        if stage.cache_features:
            features = FeatureCache(model.encoders, precision, stage.cache_features << 20)
        norms = PartNorms(model, optimizer.parameters, over)
        return cls(stage, feed, gradients, optimizer, pace, features, norms)

    def loss(self, microsteps: Sequence[Step], *, is_measured: bool = False) -> float:
        """The loss of one update, over all processes; adds its gradient to the parameters.

        If `is_measured`, the logits of this update are measured too.
        """
        self.gradients.logit_norms.is_measured = is_measured
        batches = [one.batch for one in microsteps]
        if self.features is not None:
            batches = [None if one is None else self.features.fill(one) for one in batches]
        return self.gradients.add(batches)

    def clip(self, *, is_measured: bool = False) -> float:
        """Clips the gradient to the stage's maximum norm, and returns the norm that it had.

        If `is_measured`, `norms` measures this update.
        """
        if is_measured:
            self.norms.before()
        parameters, most = list(self.optimizer.parameters.values()), self.stage.max_grad_norm or math.inf
        if self.gradients.split is not None:
            return self.gradients.split.clip(parameters, most)
        return float(nn.utils.clip_grad_norm_(parameters, most))

    def update(self, factor: float, step: int) -> None:
        """Updates the parameters at this fraction of the peak learning rates, and clears the gradients.

        Args:
            factor: Fraction of the peak learning rates.
            step: Number of updates of the stage before this one.
        """
        self.optimizer.set_factor(factor)
        self.optimizer.step()
        self.optimizer.zero_grad()

        self.norms.after()
        if self.optimizer.average is not None:
            self.optimizer.average.update(step)

    def averaged(self) -> AbstractContextManager[None]:
        """Puts the averages of the weights into the model, if the stage has any, and the weights back at the end."""
        average = self.optimizer.average
        return contextlib.nullcontext() if average is None else average.applied()


def prepare(model: VLM, stage: Stage, adapters: Mapping[PartName, Lora] | None) -> None:
    """Makes the stage's parts, or their adapters, trainable, and sets gradient checkpointing."""
    choose_parts(model, stage.parts, adapters)
    for block in model.modules():
        if isinstance(block, Block):
            block.recomputes = stage.gradient_checkpointing
