"""Examples that changed their answer, as cards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from slimedge.benchmarks.details.flips import Flip, Flips, Turn

# Of all pictures of a page together, in characters.
MOST_PICTURES = 600_000
_TITLES = {
    Turn.LOST: "lost: right before, wrong after",
    Turn.GAINED: "gained: wrong before, right after",
    Turn.WRONG: "wrong before and after, in different ways",
    Turn.CHANGED: "changed, right or wrong",
}


@dataclass(frozen=True, slots=True)
class Card:
    """One example, as text and picture."""

    number: str
    truth: str | None
    before: str
    before_sure: str
    after: str
    after_sure: str
    picture: str | None


@dataclass(frozen=True, slots=True)
class Pile:
    """The cards of one kind; `count` says how many examples there are, of which these are shown."""

    turn: str
    title: str
    count: str
    cards: tuple[Card, ...]


def piles(found: Flips) -> tuple[Pile, ...]:
    """Lay out the examples of one variant, those of a kind together."""
    return tuple(_pile(found, turn) for turn in Turn if turn in found.counts)


def within(
    given: Iterable[tuple[str, tuple[Pile, ...]]], most: int = MOST_PICTURES
) -> list[tuple[str, tuple[Pile, ...]]]:
    """Leave out the pictures that would make a page too large; the examples stay, by their numbers.

    Args:
        given: names and cards.
        most: characters of all pictures.
    """
    left = most
    kept = []
    for name, those in given:
        found = []
        for pile in those:
            cards = []
            for card in pile.cards:
                size = len(card.picture or "")
                cards.append(card if size <= left else replace(card, picture=None))
                left -= size if size <= left else 0
            found.append(replace(pile, cards=tuple(cards)))
        kept.append((name, tuple(found)))
    return kept


def _pile(found: Flips, turn: Turn) -> Pile:
    cards = tuple(_card(flip) for flip in found.shown if flip.turn is turn)
    count = found.counts[turn]
    share = f"{count:,} of {found.of:,}"
    return Pile(
        turn=str(turn),
        title=_TITLES[turn],
        count=share if len(cards) == count else f"{share}, {len(cards) or 'none'} of them shown",
        cards=cards,
    )


def _card(flip: Flip) -> Card:
    return Card(
        number=f"No. {flip.position:,}",
        truth=flip.truth,
        before=flip.before,
        before_sure=f"{100 * flip.before_sure:.0f} %",
        after=flip.after,
        after_sure=f"{100 * flip.after_sure:.0f} %",
        picture=flip.picture,
    )
