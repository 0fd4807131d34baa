"""Lines of Python and C++ per room: `python -m tools.lines`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def count(folder: Path, suffixes: tuple[str, ...]) -> int:
    """Lines of all files below a folder; tables printed by a program don't count."""
    files = [f for f in folder.rglob("*") if f.suffix in suffixes and "tables" not in f.stem]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def main() -> None:
    rooms = {f.name: f for f in sorted((ROOT / "src/enfold").iterdir()) if f.is_dir() and f.name != "__pycache__"}
    rows = [(f"enfold/{name}", count(folder, (".py", ".pyi")), 0) for name, folder in rooms.items()]
    rows += [(f"native/{f.name}", 0, count(f, (".cpp", ".h", ".hpp"))) for f in sorted((ROOT / "native").iterdir())]
    rows += [(name, count(ROOT / name, (".py",)), 0) for name in ("tests", "benchmarks", "tools", "examples")]
    print(f"{'room':<24}{'Python':>8}{'C++':>8}")
    for name, python, cpp in rows:
        print(f"{name:<24}{python or '':>8}{cpp or '':>8}")
    package = [row for row in rows if row[0].startswith(("enfold/", "native/"))]
    print(f"{'the package':<24}{sum(r[1] for r in package):>8}{sum(r[2] for r in package):>8}")


if __name__ == "__main__":
    main()
