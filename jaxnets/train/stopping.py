"""Early stopping: when a metric of a set that is not trained on has not become better for some epochs."""

from .loop import Epoch, Stop


def no_better(metric: str, *, patience: int, least: float = 0.0, smaller: bool = False) -> Stop:
    """Return a `stop` for `fit`: whether `metric` has not become better for more than `patience` epochs.

    It depends on nothing but the history, so a run that is resumed stops where the whole one does.

    Args:
      metric: of those that `evaluate` returns; ValueError, after the first epoch, if it is none of them.
      least: by how much it must become better to count.
      smaller: whether smaller is better, as of an error.

    Raises:
      ValueError: if patience or `least` is negative.

    Source: Prechelt 1998, Early stopping - but when?, the criterion UP.
    """
    if patience < 0 or not least >= 0:
        raise ValueError(f"no_better: patience is {patience}, least {least}; wanted numbers that are not negative")

    def stop(history: tuple[Epoch, ...]) -> bool:
        from flax.training.early_stopping import EarlyStopping  # slow to import

        seen = EarlyStopping(min_delta=least, patience=patience)
        for epoch in history:
            if metric not in epoch.metrics:
                raise ValueError(f"no_better: metric is {metric!r}, wanted one of {sorted(epoch.metrics)}")
            seen = seen.update(epoch.metrics[metric] if smaller else -epoch.metrics[metric])
        return seen.should_stop

    return stop
