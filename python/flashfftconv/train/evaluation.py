"""Accuracy of a model on images, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flashfftconv.data import to_sequences

# Small enough that the activations of a batch stay near the caches.
BATCH = 100


@dataclass(frozen=True)
class Evaluation:
    """Answers to N images: mean loss, predictions (N,), their probabilities (N,), and the confusion matrix.

    ``confusion[i][j]`` counts images of class i that were taken for class j.
    """

    loss: float
    accuracy: float
    predictions: Tensor
    confidences: Tensor
    confusion: Tensor

    def summary(self) -> dict[str, Any]:
        """Plain values for a log."""
        return {"loss": self.loss, "accuracy": self.accuracy, "confusion": self.confusion.tolist()}


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor, n_classes: int) -> Evaluation:
    """Run the model in evaluation mode over uint8 images (N, L) with labels (N,)."""
    model.eval()
    logits = torch.cat([model(to_sequences(images[i : i + BATCH])) for i in range(0, len(images), BATCH)])
    confidences, predictions = logits.softmax(1).max(1)
    confusion = torch.bincount(labels * n_classes + predictions, minlength=n_classes**2).reshape(n_classes, n_classes)
    return Evaluation(
        loss=F.cross_entropy(logits, labels).item(),
        accuracy=(predictions == labels).double().mean().item(),
        predictions=predictions,
        confidences=confidences,
        confusion=confusion,
    )
