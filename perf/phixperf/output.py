"""Tables for people, JSON for programs."""

import json
from pathlib import Path


def table(columns, rows):
    """A Markdown table; all columns but the first are numbers and stand to the right."""
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(text(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def text(cell):
    """Floats with three digits that count, at least; everything else as it is."""
    if not isinstance(cell, float):
        return str(cell)
    if abs(cell) >= 1000:
        return f"{cell:.0f}"
    return f"{cell:.1f}" if abs(cell) >= 100 else f"{cell:.2f}" if abs(cell) >= 1 else f"{cell:.3f}"


def machine(environment):
    """One line: processor, cores, kernel, date, and how busy the machine was."""
    features = " ".join(environment["cpu_features"])
    return (
        f"{environment['cpu']} (family {environment['cpu_family']}, model "
        f"{environment['cpu_model']}; {features}), {environment['cores']} cores, Linux "
        f"{environment['kernel']}, {environment['date'][:10]}, load average before: "
        f"{environment['load_average']}"
    )


def write(arguments, title, environment, tables, result):
    """Prints title, machine and tables, and writes the files that were asked for."""
    page = "\n\n".join([f"### {title}", machine(environment), *tables]) + "\n"
    print(page)
    if arguments.markdown:
        Path(arguments.markdown).write_text(page, encoding="utf-8")
    if arguments.json:
        whole = {**result, "environment": environment}
        Path(arguments.json).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
