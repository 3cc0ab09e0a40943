"""What is remembered of the attempts at shards, so that a picture that brings processes down stops nothing else."""

from collections import Counter

#: Deaths of processes at one picture after which it is left out.
DEATHS = 2
#: Attempts at a shard after which it is given up.
ATTEMPTS = 12


class Ledger:
    """Attempts at shards that have not come to an end.

    A shard that is begun anew without having ended has cost a process. From then on each of its pictures is announced
    before it is worked at, so that the next death has a name.
    """

    def __init__(self) -> None:
        self._attempts: Counter[int] = Counter()
        self._at: dict[int, str] = {}
        self._deaths: Counter[tuple[int, str]] = Counter()

    def begin(self, shard: int) -> tuple[int, list[str]]:
        """An attempt at a shard begins.

        Args:
            shard: Place of its first picture.

        Returns:
            The number of the attempt, from 1, and the pictures to be left out.
        """
        self._attempts[shard] += 1
        suspect = self._at.pop(shard, None)
        if suspect is not None:
            self._deaths[shard, suspect] += 1
        left_out = [id_ for (at, id_), deaths in self._deaths.items() if at == shard and deaths >= DEATHS]
        return self._attempts[shard], left_out

    def at(self, shard: int, id_: str) -> None:
        """A picture of a shard is worked at from now on."""
        self._at[shard] = id_

    def end(self, shard: int) -> None:
        """An attempt came to an end, whatever its result; nothing is remembered of the shard."""
        self._at.pop(shard, None)
        del self._attempts[shard]
        for key in [key for key in self._deaths if key[0] == shard]:
            del self._deaths[key]
