"""Metrics for people and for files."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any


class Recording:
    """The part of `Trainer` that prints and keeps metrics."""

    def metrics_format(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Metrics as a person reads them: times as h:mm:ss.ss, memory in MB, four digits behind the point."""
        shown = dict(metrics)
        for name, value in metrics.items():
            if "_mem_" in name:
                shown[name] = f"{int(value) >> 20}MB"
            elif "_runtime" in name:
                whole, _, part = str(timedelta(seconds=float(value))).partition(".")
                shown[name] = f"{whole}.{(part + '00')[:2]}"
            elif isinstance(value, float):
                shown[name] = round(value, 4)
        return shown

    def log_metrics(self: Any, split: str, metrics: dict[str, Any]) -> None:
        """Print metrics in two columns; `split` is "train", "eval" or "test"."""
        if not self.is_world_process_zero():
            return
        shown = {name: str(value) for name, value in self.metrics_format(metrics).items()}
        wide, deep = max(map(len, shown), default=0), max(map(len, shown.values()), default=0)
        print(f"***** {split} metrics *****")
        for name in sorted(shown):
            print(f"  {name:<{wide}} = {shown[name]:>{deep}}")

    def save_metrics(self: Any, split: str, metrics: dict[str, Any], combined: bool = True) -> None:
        """Write `<split>_results.json` into the output folder, and with `combined` add them to `all_results.json`."""
        if not self.is_world_process_zero():
            return
        folder = Path(self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{split}_results.json", metrics)
        if combined:
            path = folder / "all_results.json"
            _write(path, {**(json.loads(path.read_text()) if path.is_file() else {}), **metrics})


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=4, sort_keys=True) + "\n")
