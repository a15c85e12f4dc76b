# Sourced by ./dev and by the steps: installs what is missing, makes .venv, builds. Everything is skipped quickly when it
# is already in place. Long work goes to a log in .cache/logs with a sign of life on the terminal.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv="$root/.venv"
python="$venv/bin/python"
logs="$root/.cache/logs"
mkdir -p "$logs"
export CCACHE_BASEDIR="${CCACHE_BASEDIR:-$root}" CCACHE_NOHASHDIR=1
# Without it ccache does not keep what was compiled with precompiled headers.
export CCACHE_SLOPPINESS="${CCACHE_SLOPPINESS:-pch_defines,time_macros,include_file_mtime,include_file_ctime}"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
jobs=$(nproc)

say() { printf '%s\n' "$*"; }
die() { printf 'dev: %s\n' "$*" >&2; exit 1; }

# run_logged <what> <log name> <command...>: runs quietly, says every 20 s that it still does, shows the log on failure.
run_logged() {
  local what=$1 log="$logs/$2.log" begin=$SECONDS status=0
  shift 2
  say "-- $what (log: ${log#"$root"/})"
  "$@" >"$log" 2>&1 </dev/null &
  local pid=$! tick=0
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2
    tick=$((tick + 1))
    if ((tick % 100 == 0)); then say "   ... $((SECONDS - begin)) s, $(tail -c 300 "$log" | tr '\r' '\n' | grep -v '^ *$' | tail -1 | cut -c1-100)"; fi
  done
  wait "$pid" || status=$?
  if ((status != 0)); then
    tail -40 "$log" >&2
    die "$what failed with status $status; the whole log is in ${log#"$root"/}"
  fi
  say "   done in $((SECONDS - begin)) s"
}

words_of() { sed -e 's/#.*//' "$@" | tr -s ' \n' '\n' | sed '/^$/d'; }

# ensure_packages <list>...: Debian packages named in .ci/packages/<list>.txt.
ensure_packages() {
  local files=() list package missing=()
  for list in "$@"; do files+=("$root/.ci/packages/$list.txt"); done
  if ! command -v dpkg-query >/dev/null; then
    say "-- not a Debian system: please install the equivalents of: $(words_of "${files[@]}" | tr '\n' ' ')"
    return
  fi
  for package in $(words_of "${files[@]}"); do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  local as_root=()
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || die "these Debian packages are missing and neither root nor sudo is at hand; as root run:
  apt-get install --no-install-recommends ${missing[*]}"
    sudo -v || die "sudo was refused; as root run: apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
  fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -y)
  # A package source that fails to refresh does not matter as long as the packages can be had.
  run_logged "Refreshing the package lists" apt_update bash -c '"$@" update || true' bash "${apt[@]}"
  run_logged "Installing ${#missing[@]} Debian packages: ${missing[*]}" apt_install "${apt[@]}" install --no-install-recommends "${missing[@]}"
}

# The first Python >= 3.11 that can make environments. Machines often have several, some incomplete.
find_python() {
  local candidate
  for candidate in "${HAI_BASE_PYTHON:-}" /usr/bin/python3 python3 python3.13 python3.12 python3.11 /usr/local/bin/python3; do
    [[ -n $candidate ]] && command -v "$candidate" >/dev/null || continue
    if "$candidate" -c 'import sys, venv, ensurepip, subprocess, ssl, ctypes; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  die "no complete Python >= 3.11 found (needs the modules venv and ensurepip): install python3-venv, or set HAI_BASE_PYTHON"
}

# ensure_python <list>...: Python packages of .ci/requirements/<list>.txt, in .venv. A stamp per list makes repeats quick.
ensure_python() {
  local list base stamp hash
  if ! "$python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    base=$(find_python)
    rm -rf "$venv"
    run_logged "Making .venv with $base" venv "$base" -m venv "$venv"
  fi
  for list in "$@"; do
    stamp="$venv/.hai_$list"
    hash=$(cat "$root"/.ci/requirements/*.txt | sha256sum)
    if [[ ! -f $stamp || $(<"$stamp") != "$hash" ]]; then
      run_logged "Installing the Python packages of .ci/requirements/$list.txt" "pip_$list" \
        "$python" -m pip install --no-input --prefer-binary -r "$root/.ci/requirements/$list.txt"
      printf '%s' "$hash" >"$stamp"
    fi
  done
  # hai_toolkit is used from the build tree: its sources are linked there beside the native module.
  "$python" - "$root/build/python" <<'PYTHON'
import sys, sysconfig, pathlib
link = pathlib.Path(sysconfig.get_paths()["purelib"]) / "hai_toolkit.pth"
if not link.exists() or link.read_text() != sys.argv[1] + "\n":
    link.write_text(sys.argv[1] + "\n")
PYTHON
}

# build_tree <folder> <targets> <cmake options...>: configures when needed and builds; `targets` may be several words.
build_tree() {
  local folder=$1 targets=$2 begin=$SECONDS log
  shift 2
  log="$logs/build_${folder//\//_}.log"
  if ! cmake -G Ninja -S "$root" -B "$folder" -DHAI_PYTHON="$python" "$@" >"$log" 2>&1; then
    cat "$log" >&2
    die "cmake could not configure $folder"
  fi
  say "-- Building $folder ($targets)"
  # shellcheck disable=SC2086
  if [[ -t 1 ]]; then
    ninja -C "$folder" -j "$jobs" $targets || die "the build of $folder failed"
  else
    ninja -C "$folder" -j "$jobs" $targets 2>&1 | tee "$log" | awk '
      match($0, /^\[[0-9]+\/[0-9]+\]/) {
        split(substr($0, 2, RLENGTH - 2), part, "/"); percent = int(10 * part[1] / part[2]) * 10
        if (percent > shown) { shown = percent; printf "   %3d %% of %d\n", percent, part[2]; fflush() }
      }' || { grep -A 30 -m 1 '^FAILED' "$log" >&2 || tail -30 "$log" >&2; die "the build of $folder failed; the whole log is in ${log#"$root"/}"; }
  fi
  say "   built in $((SECONDS - begin)) s"
}

# build_sanitized <targets>: build-sanitize, clang with the address and undefined sanitizers and libFuzzer's coverage: one tree
# for the sanitized tests and the fuzz targets, which also shows that the sources are clean under clang.
build_sanitized() {
  build_tree build-sanitize "$1" -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 -DHAI_FUZZ=ON \
    -DHAI_SANITIZE=address,undefined -DHAI_PRECOMPILE=ON
}
