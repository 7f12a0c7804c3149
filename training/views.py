"""Several views of a record in its one clipped vector: augmentation multiplicity.

After De et al. (arXiv 2204.13650): K views of a drawn record, the first as it is, count together as
one record. There the mean of the views' gradients is clipped; here each view's vector is, and the
record's is their mean, which has norm at most C as well (`training.units`). It costs no ε and K
times the work.

What a view adds must not depend on who else is in the batch: noise drawn row by row would be
another record's noise where a neighbor is missing, and one record would move them all. So it
follows from public numbers alone: the record's place in the table, the view, and the step.

    a table     Gaussian noise on the encoded features, out of a public bank
    an image    a shift by up to two pixels each way, the edge filled with zeros
"""

from typing import Final

import torch
from torch import nn

BANK: Final = 4_096  # vectors of noise
SHIFT: Final = 2  # pixels
_MIX: Final = (2_654_435_761, 40_503, 97_531)  # odd, so that places, views and steps all matter
_MODULUS: Final = 2**31 - 1


class Views:
    """Makes the views of one run."""

    def __init__(self, count: int, noise: float, image: tuple[int, ...], seed: int) -> None:
        """`count` views; of a table with `noise` as standard deviation, of an image shifted."""
        self.count = count
        self._noise, self._image, self._seed = noise, image, seed
        self._bank: torch.Tensor | None = None

    def all(
        self,
        rows: torch.Tensor,
        labels: torch.Tensor,
        shares: torch.Tensor | None,
        numbers: torch.Tensor,
        step: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows, labels and shares of all views of a batch."""
        made = self.of(rows, numbers, step)
        return made, self.repeated(labels), self.shares(shares, len(rows))

    def of(self, rows: torch.Tensor, numbers: torch.Tensor, step: int) -> torch.Tensor:
        """(B, D) rows with their (B,) numbers in the table to (B·K, D), a row's views in a row."""
        views = rows.repeat_interleave(self.count, dim=0)
        view = torch.arange(self.count).repeat(len(rows))
        mixed = self._mixed(numbers.repeat_interleave(self.count), view, step)
        changed = view.to(rows.device) > 0  # the first view is the record as it is
        made = self._shifted(views, mixed) if self._image else self._noised(views, mixed)
        return torch.where(changed.unsqueeze(1), made, views)

    def repeated(self, labels: torch.Tensor) -> torch.Tensor:
        """(B,) labels to (B·K,)."""
        return labels.repeat_interleave(self.count)

    def shares(self, shares: torch.Tensor | None, records: int) -> torch.Tensor:
        """Each view's share of C: an even part, rounded down, of its record's."""
        whole = torch.ones(records) if shares is None else shares
        part = torch.nextafter(whole / self.count, torch.zeros_like(whole))
        return part.repeat_interleave(self.count)

    def _mixed(self, numbers: torch.Tensor, view: torch.Tensor, step: int) -> torch.Tensor:
        place, turn, when = _MIX
        return (numbers * place + view * turn * place + (step + self._seed) * when) % _MODULUS

    def _noised(self, views: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        if self._bank is None:
            generator = torch.Generator().manual_seed(self._seed)
            bank = torch.randn(BANK, views.shape[1], generator=generator) * self._noise
            self._bank = bank.to(views.device)
        return views + self._bank[(mixed % BANK).to(views.device)]

    def _shifted(self, views: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        channels, high, wide = self._image
        images = views.view(-1, channels, high, wide)
        padded = nn.functional.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT))
        sides = 2 * SHIFT + 1
        down = (mixed % sides).to(views.device).view(-1, 1) + torch.arange(
            high, device=views.device
        )
        right = (mixed // sides % sides).to(views.device).view(-1, 1) + torch.arange(
            wide, device=views.device
        )
        each = torch.arange(len(images), device=views.device)
        taken = padded[each[:, None, None], :, down[:, :, None], right[:, None, :]]
        return taken.permute(0, 3, 1, 2).reshape(views.shape)
