"""The figures that the paper prints, beside which ours are shown.

Source: Wireless Federated Multi-Task LLM Fine-Tuning via Sparse-and-Orthogonal LoRA
(arXiv 2602.20492), Table I: 10 devices, rank 32. Shares are of all parameters, as printed.
"""

from dataclasses import dataclass
from typing import Literal

Row = Literal["FPFT", "LoRA", "LoRI", "Hard-routing MoE", "Proposed (single)", "Proposed"]
DATASETS = ("BoolQ", "PIQA", "SIQA", "GSM8K", "ARC-e", "ARC-c", "HellaSwag", "HumanEval")


@dataclass(frozen=True)
class Figures:
    """One line of Table I.

    Attributes:
        average: Mean accuracy in percent, as printed; two lines differ from the mean of their
            columns (1.5B LoRA 67.14, 1.5B Proposed 77.94).
        trained_percent: Trained parameters, percent of the model.
        sent_percent: Sent parameters, percent of the model.
        accuracies: Percent, in the order of `DATASETS`.
    """

    average: float
    trained_percent: float
    sent_percent: float
    accuracies: tuple[float, ...]


TABLE_1: dict[Row, tuple[Figures, Figures]] = {  # Qwen2.5-1.5B-Instruct, Qwen2.5-7B-Instruct
    "FPFT": (
        Figures(76.95, 100.0, 100.0, (79.81, 80.72, 79.16, 77.83, 84.49, 64.20, 87.35, 62.05)),
        Figures(86.55, 100.0, 100.0, (84.25, 85.65, 83.96, 92.57, 93.31, 73.29, 91.80, 87.57)),
    ),
    "LoRA": (
        Figures(68.03, 2.01, 2.01, (76.94, 78.59, 79.20, 71.90, 62.30, 52.00, 68.30, 47.90)),
        Figures(83.19, 2.5, 2.5, (81.32, 83.88, 80.99, 88.56, 89.38, 70.25, 88.18, 82.95)),
    ),
    "LoRI": (
        Figures(75.17, 1.05, 1.05, (79.29, 81.48, 78.64, 74.12, 82.78, 62.11, 84.40, 58.58)),
        Figures(84.36, 1.16, 1.16, (82.72, 83.22, 83.40, 90.33, 90.82, 70.56, 89.12, 84.67)),
    ),
    "Hard-routing MoE": (
        Figures(80.93, 100.0, 100.0, (83.23, 84.87, 83.04, 82.44, 87.56, 69.12, 90.91, 66.29)),
        Figures(90.62, 100.0, 100.0, (87.67, 90.46, 87.11, 96.84, 96.95, 78.21, 95.58, 92.13)),
    ),
    "Proposed (single)": (
        Figures(76.44, 0.54, 0.27, (80.21, 81.69, 78.38, 78.21, 82.95, 64.25, 84.74, 61.09)),
        Figures(85.96, 0.60, 0.30, (83.33, 85.74, 83.74, 91.14, 90.69, 75.17, 89.78, 88.08)),
    ),
    "Proposed": (
        Figures(78.00, 0.54, 0.27, (81.45, 83.36, 79.49, 80.04, 84.41, 65.97, 86.09, 62.67)),
        Figures(87.39, 0.60, 0.30, (84.76, 86.86, 85.52, 92.49, 92.60, 76.23, 91.32, 89.35)),
    ),
}
