# Sourced by scripts/esrun and scripts/test, with $root and perhaps $extras and $beside set: makes $root/.venv$beside and keeps it up to date.
# Nothing is installed again until pyproject.toml or the constraints change, or other extras are asked for.

python_is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        if [ -n "$candidate" ] && python_is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "esrun: Python 3.11 or newer is needed, found $(python3 --version 2>&1 || echo none): install one, or set PYTHON to it" >&2
    return 1
}

venv=$root/.venv${beside:-}
wanted=$(cat "$root/pyproject.toml" "$root/scripts/constraints.txt" | cksum)
if [ -n "${extras:-}" ]; then
    target="${root}[$extras]"
    stamp=$venv/.installed-$extras
else
    target=$root
    stamp=$venv/.installed
    # with the extras installed, the rest is too
    [ "$(cat "$venv/.installed-dev" 2>/dev/null)" = "$wanted" ] && stamp=$venv/.installed-dev
fi
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    if ! python_is_new_enough "$venv/bin/python"; then
        if [ -e "$venv" ] || [ -L "$venv" ]; then
            echo "esrun: $venv has no Python of 3.11 or newer that works: move it away, then run this again" >&2
            exit 1
        fi
        python=$(find_python)
        echo "esrun: setting up $venv with $("$python" --version), once" >&2
        "$python" -m venv "$venv" || {
            echo "esrun: $python cannot make a virtual environment: install its venv package (Debian: python3-venv), remove $venv" >&2
            exit 1
        }
    fi
    echo "esrun: installing" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$root/scripts/constraints.txt" --editable "$target" >&2
    echo "$wanted" >"$stamp"
fi
