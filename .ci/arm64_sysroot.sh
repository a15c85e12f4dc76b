#!/usr/bin/env bash
# Unpacks the arm64 libraries that the cross build links into .cache/arm64-sysroot. The system's package lists and
# architectures stay as they are: apt works on private lists in .cache. Headers that have no architecture come from the system.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
packages=(libssl-dev libdeflate-dev libpng-dev libturbojpeg0-dev zlib1g-dev libprotobuf-dev)
headers=(fmt flatbuffers CLI nlohmann)
sysroot="$root/.cache/arm64-sysroot"
stamp="$sysroot/.complete"
wanted="${packages[*]} ${headers[*]} $(dpkg-query -W -f='${Version} ' libssl-dev libdeflate-dev libpng-dev libturbojpeg0-dev zlib1g-dev libprotobuf-dev)"
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then exit 0; fi

state="$root/.cache/arm64-apt"
rm -rf "$sysroot" "$state"
mkdir -p "$sysroot/usr/include" "$state/lists/partial" "$state/archives/partial" "$state/debs"
: >"$state/status"
apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists="$state/lists"
  -o Dir::State::status="$state/status" -o Dir::Cache="$state" -o Acquire::Languages=none -o APT::Sandbox::User="$(id -un)")
"${apt[@]}" update
(cd "$state/debs" && "${apt[@]}" download "${packages[@]}")
for deb in "$state"/debs/*.deb; do dpkg-deb -x "$deb" "$sysroot"; done
for header in "${headers[@]}"; do ln -sfn "/usr/include/$header" "$sysroot/usr/include/$header"; done
rm -rf "$state"
printf '%s' "$wanted" >"$stamp"
