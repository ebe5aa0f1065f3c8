"""What is done around each step of training, to keep something that the optimizer knows nothing of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras


class Keeper(Protocol):
    """Keeps something while a model trains; the loop calls its methods in this order.

    Attributes:
        training: whether the model is called as in training; `before` may change it, and all keepers must agree.
    """

    training: bool

    def start(self, model: keras.Model, /) -> None:
        """Look at the model in front of the first step."""

    def optimizing(self, optimizer: Any, /) -> None:
        """Look at the optimizer, built for the model's trainable variables."""

    def before(self, step: int, steps: int, /) -> None:
        """Prepare for step `step` of 0…`steps` - 1; outside of what is compiled."""

    def gradient(self, variable: Any, gradient: Any, /) -> Any:
        """Give the gradient that the optimizer gets for a variable; within the compiled step."""

    def project(self) -> None:
        """Put variables back to what is allowed; within the compiled step, after the optimizer moved them."""

    def check(self) -> None:
        """Look at the model after the last step.

        Raises:
            CheckError: what had to be kept is lost.
        """

    def state(self) -> dict[str, NDArray[Any]]:
        """Give what has to be known to go on later, beside the model's variables and the step."""

    def set_state(self, state: Mapping[str, NDArray[Any]], /) -> None:
        """Go on from there, after `start` and `optimizing`."""


class Keeping:
    """A keeper that does nothing, for those that need some of the methods only."""

    training = True

    def start(self, model: keras.Model, /) -> None:
        """Do nothing."""

    def optimizing(self, optimizer: Any, /) -> None:
        """Do nothing."""

    def before(self, step: int, steps: int, /) -> None:
        """Do nothing."""

    def gradient(self, variable: Any, gradient: Any, /) -> Any:
        """Leave the gradient as it is."""
        del variable
        return gradient

    def project(self) -> None:
        """Do nothing."""

    def check(self) -> None:
        """Do nothing."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Give nothing."""
        return {}

    def set_state(self, state: Mapping[str, NDArray[Any]], /) -> None:
        """Do nothing."""
