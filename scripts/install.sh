#!/bin/sh
# Installs davit, one file, without root. `sh install.sh --help` says how.
#
# It runs in any POSIX shell with what a bare image has: curl or some wget, and sha256sum, shasum or openssl.
# The brace below is closed on the last line, and a shell reads to it before it runs anything: a script that
# was cut short on its way does nothing.
{
set -u
umask 022
export LC_ALL=C

usage() {
  cat <<'END'
Usage: curl -fsSL "$DAVIT_BASE_URL/install.sh" | sh [-s -- OPTIONS]
       sh install.sh [OPTIONS] [FILE]

Installs davit: downloads davit-ARCH-linux-portable from DAVIT_BASE_URL, or takes FILE, compares it with
SHA256SUMS, tries it, and moves it into place. A davit that runs goes on; one that cannot be replaced stays.

  --version VERSION  take DAVIT_BASE_URL/vVERSION/ instead of DAVIT_BASE_URL/
  --dir DIR          install into DIR; without it /usr/local/bin, or ~/.local/bin where that cannot be written
  --timeout SECONDS  give up when the server is silent for so long; 60 (busybox wget: always 900)
  --uninstall        remove davit from DIR, or from both of those places
  --help             print this

Environment: DAVIT_BASE_URL, an http or https address that has SHA256SUMS and the file, and the proxy
variables of curl and wget. A name and a password belong into ~/.netrc. SHA256SUMS comes from the same
address: it shows damage, it does not show who made the file.

Exit: 0 done, 64 usage, 65 the file is damaged or does not run, 66 no FILE, 69 no download or a tool is
missing, 73 cannot write, 78 DAVIT_BASE_URL is missing or cannot be used.
END
}

say() { printf 'davit: %s\n' "$1"; }
# fail STATUS SENTENCE [HINT]
fail() {
  printf 'davit: %s\n' "$2" >&2
  [ -z "${3:-}" ] || printf 'hint: %s\n' "$3" >&2
  exit "$1"
}

work='' # our directory beside the target: a rename from it is atomic
child=''
clean_up() {
  trap '' HUP INT TERM PIPE
  if [ -n "$child" ]; then
    kill -KILL "$child" 2>/dev/null
    wait "$child" 2>/dev/null
  fi
  [ -z "$work" ] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# A shell acts on a signal only between commands or in `wait`, so what may take long runs in the background.
run() {
  "$@" </dev/null &
  child=$!
  wait "$child"
  ended=$?
  child=''
  return "$ended"
}

# The first line of a file, without what could steer a terminal.
first_line() {
  line=''
  read -r line 2>/dev/null <"$1"
  printf '%s' "$line" | tr -cd ' -~'
}

# What a program said before it failed; GNU wget -q says nothing, and none tells a full disk by its status.
reason() {
  said=$(first_line "$work/said")
  if ! printf '%4096s' '' 2>/dev/null >"$work/probe" || [ ! -s "$work/probe" ]; then
    said="${said:+$said; }no space is left in \"$dir\""
  fi
  printf '%s\n' "${said:-it said nothing}"
}

architecture() {
  machine=$(uname -m) || fail 69 "Cannot install davit: uname does not tell the architecture"
  case $machine in
    x86_64 | amd64) echo x86_64 ;;
    aarch64 | arm64) echo aarch64 ;;
    *) fail 69 "Cannot install davit: there is none for \"$machine\", only for x86_64 and aarch64" ;;
  esac
}

check_base_url() {
  [ -n "$base" ] || fail 78 'Cannot install davit: DAVIT_BASE_URL is not set, and no file was given' \
    'export DAVIT_BASE_URL=https://HOST/PATH, where SHA256SUMS lies; without a network: sh install.sh FILE'
  case $base in
    http://?* | https://?*) ;;
    *) fail 78 "Cannot use DAVIT_BASE_URL=\"$base\": an http:// or https:// address was wanted" ;;
  esac
  base=${base%/}
  authority=${base#*://}
  case ${authority%%/*} in
    *@*) fail 78 'Cannot use DAVIT_BASE_URL: the name or password in it would show in every process list' \
      'put them into ~/.netrc' ;;
  esac
}

# download NAME AS: $base/NAME as $work/AS
download() {
  url=$base/$1
  if command -v curl >/dev/null 2>&1; then
    # An https address may not lead to a plain one.
    case $base in https:*) protocols='=https' ;; *) protocols='=http,https' ;; esac
    run curl -fsSL --proto "$protocols" --netrc-optional --connect-timeout "$timeout" --speed-limit 1 \
      --speed-time "$timeout" -o "$work/$2" "$url" 2>"$work/said"
  elif command -v wget >/dev/null 2>&1; then
    bounds="-t 2 -T $timeout"
    case $(wget --help 2>&1) in *BusyBox*)
      bounds='' # given -T, Debian's static busybox 1.35 ends with SIGSEGV; without, it waits 900 s
      case $base in https:*)
        printf 'davit: busybox wget may not check the certificate of "%s"\n' "$base" >&2 ;;
      esac ;;
    esac
    # shellcheck disable=SC2086 # words
    run wget -q $bounds -O "$work/$2" "$url" 2>"$work/said"
  else
    fail 69 'Cannot download davit: there is neither curl nor wget' 'without a network: sh install.sh FILE'
  fi
  status=$?
  [ "$status" -eq 0 ] || fail 69 "Cannot download \"$url\": status $status, $(reason)"
}

# sha256 FILE: from standard input, as names with odd characters are printed in ways of their own
sha256() {
  if command -v sha256sum >/dev/null 2>&1; then
    sum=$(sha256sum <"$1")
  elif command -v shasum >/dev/null 2>&1; then
    sum=$(shasum -a 256 <"$1")
  elif command -v openssl >/dev/null 2>&1; then
    sum=$(openssl dgst -sha256 -r <"$1")
  else
    fail 69 'Cannot verify davit: there is none of sha256sum, shasum and openssl' 'nothing was installed'
  fi || fail 69 "Cannot verify davit: the program for SHA-256 failed"
  printf '%s\n' "${sum%% *}"
}

# verify FILE NAME SUMS
verify() {
  wanted=''
  while read -r sum listed || [ -n "$sum" ]; do
    case $listed in "$2" | "*$2") wanted=$sum ;; esac
  done <"$3" || fail 65 "Cannot read \"$3\""
  [ -n "$wanted" ] || fail 65 "Cannot verify davit: SHA256SUMS has no line for \"$2\""
  actual=$(sha256 "$1") || exit
  [ "$actual" = "$wanted" ] ||
    fail 65 "Cannot install davit: \"$2\" is damaged, its SHA-256 is $actual, SHA256SUMS has another" \
      'it was cut short, or the release was just being replaced: try again'
}

# make_work DIR: makes DIR and our directory in it
make_work() {
  made=$({ mkdir -p "$1" && mktemp -d "$1/.davit-install.XXXXXX"; } 2>&1) && work=$made
}

choose_dir() {
  if [ -n "$dir" ]; then
    make_work "$dir" || fail 73 "Cannot install into \"$dir\": $made"
  elif make_work /usr/local/bin; then
    dir=/usr/local/bin
  elif [ -z "$home_bin" ]; then
    fail 73 "Cannot install davit: HOME is not set, and $made" 'use --dir DIR'
  else
    refused=$made
    make_work "$home_bin" || fail 73 "Cannot install davit: $refused; $made" 'use --dir DIR'
    dir=$home_bin
  fi
  dir=$(cd "$dir" && pwd) || fail 73 "Cannot install into \"$dir\": it cannot be entered"
}

take_file() {
  [ -f "$file" ] || fail 66 "Cannot install \"$file\": there is no such file"
  run cp "$file" "$work/davit" 2>"$work/said" || fail 73 "Cannot copy \"$file\" to \"$dir\": $(reason)"
  verified='NOT verified: no SHA256SUMS beside the file'
  [ -e "${file%/*}/SHA256SUMS" ] || return 0
  verify "$work/davit" "${file##*/}" "${file%/*}/SHA256SUMS"
  verified='SHA-256 verified'
}

take_download() {
  name=davit-$arch-linux-portable
  [ -z "$version" ] || base=$base/v$version
  download SHA256SUMS SHA256SUMS
  download "$name" davit
  verify "$work/davit" "$name" "$work/SHA256SUMS"
  verified='SHA-256 verified'
}

# The new file is tried before it takes the old one's place.
try_out() {
  chmod 755 "$work/davit" || fail 73 "Cannot make \"$work/davit\" executable"
  run "$work/davit" --version >"$work/version" 2>"$work/said"
  status=$?
  [ "$status" -eq 0 ] ||
    fail 65 "Cannot use the new davit: --version ended with status $status, $(reason)" \
      "nothing was replaced; is \"$dir\" mounted noexec, or the file not for $(uname -m)?"
  found=$(first_line "$work/version")
  case $found in
    'davit '?*) ;;
    *) fail 65 "Cannot use the new davit: it says \"$found\" and not its version" 'nothing was replaced' ;;
  esac
  [ -z "$version" ] || [ "$found" = "davit $version" ] ||
    fail 65 "Cannot install davit $version: the server has \"$found\" in its place" 'nothing was replaced'
}

same_place() { [ "$(cd -P "$1" && pwd)" = "$(cd -P "$2" && pwd)" ]; }
say_path() {
  first=$(command -v davit)
  if [ -z "$first" ]; then
    say "note: \"$dir\" is not on PATH; add it: export PATH=\"$dir:\$PATH\""
  elif ! same_place "${first%/*}" "$dir"; then
    say "note: PATH finds \"$first\" first"
  fi
}

install_davit() {
  [ -c /dev/null ] || fail 69 'Cannot install davit: /dev/null is no device' 'in a chroot, mount /dev'
  if [ -z "$file" ]; then
    check_base_url
    arch=$(architecture) || exit
  fi
  choose_dir
  target=$dir/davit
  # mv would move into it.
  [ ! -d "$target" ] || fail 73 "Cannot install \"$target\": a directory has that name"
  if [ -n "$file" ]; then take_file; else take_download; fi
  try_out
  was_link=''
  [ ! -L "$target" ] || was_link=' in place of a link'
  mv -f "$work/davit" "$target" 2>"$work/said" || fail 73 "Cannot replace \"$target\": $(reason)"
  say "installed $found as $target$was_link ($verified)"
  say_path
}

# uninstall DIR...
uninstall() {
  removed=''
  for dir; do
    rm -rf "$dir"/.davit-install.?????? # of installations that were killed
    [ -f "$dir/davit" ] || [ -L "$dir/davit" ] || continue
    rm -f "$dir/davit" || fail 73 "Cannot remove \"$dir/davit\""
    say "removed $dir/davit; its cache stays (\"davit self clean\" would have removed it)"
    removed=yes
  done
  [ -n "$removed" ] || say "nothing to remove: there is no davit in $*"
}

main() {
  base=${DAVIT_BASE_URL:-}
  version='' dir='' file='' timeout=60 wants_removal=''
  case ${HOME:-} in /?*) home_bin=${HOME%/}/.local/bin ;; *) home_bin='' ;; esac
  while [ $# -gt 0 ]; do
    option=$1
    case $option in
      --uninstall) wants_removal=yes ;;
      --help) usage; exit 0 ;;
      --version | --dir | --timeout)
        [ -n "${2:-}" ] || fail 64 "Cannot read the arguments: $option needs a value" '--help shows them'
        case $option in --version) version=$2 ;; --dir) dir=$2 ;; --timeout) timeout=$2 ;; esac
        shift ;;
      '' | -*) fail 64 "Cannot read the arguments: unknown option \"$option\"" '--help shows them' ;;
      *)
        [ -z "$file" ] || fail 64 "Cannot read the arguments: \"$option\" is a second file"
        file=$option ;;
    esac
    shift
  done
  case ${version:-0} in
    v | .* | *[!0-9A-Za-z.+_-]*) fail 64 "Cannot use --version \"$version\": it is no version" ;;
  esac
  version=${version#v}
  case $timeout in 0* | *[!0-9]*) fail 64 "Cannot use --timeout \"$timeout\": give whole seconds" ;; esac
  case ${file:+file},${version:+version},$wants_removal in
    file,version,* | file,*,yes | *,version,yes)
      fail 64 'Cannot read the arguments: a file, --version and --uninstall exclude each other' ;;
  esac
  # With a slash in front nothing is taken for an option.
  case $dir in '' | /*) ;; *) dir=$PWD/$dir ;; esac
  case $file in '' | /*) ;; *) file=$PWD/$file ;; esac
  if [ -z "$wants_removal" ]; then
    install_davit
  elif [ -n "$dir" ]; then
    uninstall "$dir"
  else
    uninstall /usr/local/bin ${home_bin:+"$home_bin"}
  fi
}

main "$@"
}
