#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes a corpus of English text out of packages of Debian 12: cleaned documents, none twice, in an order and
# with held-out documents that depend on their content only. The same packages give the same bytes
# (docs/corpus.md has the rules, the sources and the hashes).
#
#   bench/corpus.sh [OUT]          OUT (build/corpus) gets
#
#     train.jsonl, held_out.jsonl  one object a document: "text" and "source", the package
#     held_out/PACKAGE.jsonl       the held-out documents of each package
#     sources.tsv, SHA256SUMS      documents and bytes of each package; hashes of all that is above
#     debs, text                   the packages, and their text before lines that stand twice are left out
#
# Takes 0.8 GB of downloads, 2.2 GB of disk, 1 GB of memory and a few minutes of a processor. Needs Debian 12
# (bookworm, main) in apt's sources, apt-get, dpkg-deb and Python 3.9 with its own library; no root. What has
# been downloaded or extracted is not done again. Where a package has another version by now, that is said,
# and the hashes are other ones.
# Environment: PYTHON (python3), JOBS (2: packages extracted at once).
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
  -h | --help) sed -n '3,/^set/{s/^# \{0,1\}//;/^set/d;p}' "$0"; exit ;;
  -*) echo "usage: bench/corpus.sh [OUT]; --help says more" >&2; exit 2 ;;
esac
[ $# -le 1 ] || { echo "usage: bench/corpus.sh [OUT]" >&2; exit 2; }
out=${1:-build/corpus}
python=${PYTHON:-python3}

# package, version, files (a regular expression over paths; -: all of known endings), how they are read (-: by
# their endings). Of lines that stand twice the first one is kept, in this order.
list() {
  cat <<'LIST'
dict-gcide 0.48.5+nmu2
dict-wn 1:3.0-37
dict-foldoc 20230119-1
dict-jargon 4.4.7-3.1
anarchism 15.3-3
r-cran-janeaustenr 1.0.0-1 /data/.*\.rdb$ r
sword-text-web 426.0-1
sword-text-kjv 14.3-1
sword-comm-tdavid 2.1-1
sword-comm-mhcc 2.0-1
sword-comm-scofield 2.1-1
fortunes 1:1.99.1-7.3 /fortunes/[a-z-]+$ text
cataclysm-dda-data 0.F-3-9 \.json$ literals
crawl-common 2:0.28.0-1.1 /dat/(descript|database)/[a-z]+\.txt$
abs-guide 10-4
c++-annotations-html 12.2.0-2
debian-faq 11.1
debian-handbook 11.20220922 /en-US/
debian-history 2.28 /[^.]*(\.en)?\.html$
debian-policy 4.6.2.0
debian-reference-en 2.100
debmake-doc 1.17-7 \.en\.html$
developers-reference 12.18
aptitude-doc-en 0.8.13-5
gnu-standards 2022.03.23-0.1
harden-doc 3.19+nmu1 /en-US/
haskell98-report 20080907-10
live-manual-html 2:20151217.2 /live-manual/.*\.en\.html$|/en/
maint-guide 1.2.53
mh-book 200605-2.2
png-definitive-guide 20060430-4
linux-doc-6.1 6.1.192-3
python3.11-doc 3.11.2-6+deb12u9
perl-doc 5.36.0-7+deb12u4
perl-modules-5.36 5.36.0-7+deb12u4 \.(pod|pm)$ pod
postgresql-doc-15 15.20-0+deb12u1
sqlite3-doc 3.40.1-2+deb12u2
vim-runtime 2:9.0.1378-2+deb12u2 /doc/.*\.txt$
git-doc 1:2.39.5-0+deb12u3
apache2-doc 2.4.71-1~deb12u1 /manual/en/
rust-doc 1.63.0+dfsg1-2 /html/(book|rust-by-example|reference|nomicon|rustc|embedded-book|edition-guide|std)/
racket-doc 8.7+dfsg1-1
erlang-doc 1:25.2.3+dfsg-1+deb12u4
ghc-doc 9.0.2-4 /users_guide/
nim-doc 1.6.10-2
nodejs-doc 18.20.4+dfsg-1~deb12u3
mit-scheme-doc 12.1-3
guile-3.0-doc 3.0.8-2
swi-prolog-doc 9.0.4+dfsg-2
ada-reference-manual-2012 1:2020.1commit85143dcb-4
libstdc++-12-doc 12.2.0-14+deb12u1 /manual/
cppreference-doc-en-html 20170409-2
libboost1.81-doc 1.81.0-5+deb12u1
db5.3-doc 5.3.28+dfsg2-1 /(programmer_reference|api_reference/C|upgrading|installation|gsg[^/]*/C)/
qtbase5-doc-html 5.15.8+dfsg-11+deb12u3
qtdeclarative5-doc-html 5.15.8+dfsg-3
llvm-14-doc 1:14.0.6-12
clang-14-doc 1:14.0.6-12
cmake-doc 3.25.1-1
autoconf-doc 2.71-3
swig4.0-doc 4.1.0-0.2
sphinx-doc 5.3.0-4
sagemath-doc 9.5-6 /html/en/
singular-doc 1:4.3.1-p3+ds-2
gap-doc 4.12.1-2
maxima-doc 5.46.0-11 /maxima-doc/html/[^/]*$
octave-doc 7.3.0-2
python-sympy-doc 1.11.1-1
python-mpmath-doc 1.2.1-2
grass-doc 8.2.1-1
postgis-doc 3.3.2+dfsg-1
lilypond-doc-html 2.24.1-2 /Documentation/(?!internals)[a-z-]+/[^.]*\.html$
csound-doc 1:6.18.0+dfsg0-1
supercollider-common 1:3.13.0+repack-1 /HelpSource/.*\.schelp$ text
povray-doc 1:3.7.0.10-2
gnuplot-doc 5.4.4+dfsg1-2
imagemagick-6-doc 8:6.9.11.60+dfsg-1.6+deb12u15
ffmpeg-doc 7:5.1.9-0+deb12u1 /ffmpeg/(?!api/)
fontforge-doc 1:20230101~dfsg-1.1~deb12u1 /fontforge/(?!.*/ja/)
renpy-doc 8.0.3+dfsg-1
gnome-user-docs 43.0-2 /help/C/
gnome-devel-docs 40.3-1 /C/
libreoffice-help-en-us 4:7.4.7-1+deb12u14
dpdk-doc 22.11.11-0+deb12u1 /guides/
wireshark-doc 4.0.17-0+deb12u3
bind9-doc 1:9.18.49-1~deb12u3
krb5-doc 1.20.1-2+deb12u5 /krb5-doc/(?!appdev/refs)
postfix-doc 3.7.11-0+deb12u1
exim4-doc-html 4.96-1
openafs-doc 1.8.9-1+deb12u1
kea-doc 2.2.0-6
ntpsec-doc 1.2.2+dfsg1-1+deb12u1
rsyslog-doc 8.2302.0+dfsg-1
shorewall-doc 5.2.8-2
slurm-wlm-doc 22.05.8-4+deb12u3
icinga2-doc 2.13.6-2+deb12u2
tomcat10-docs 10.1.60-1~deb12u1
twisted-doc 22.4.0-4+deb12u1 /html/(?!api/)
borgbackup-doc 1.2.4-1
gnutls-doc 3.7.9-2+deb12u7
weechat-doc 3.8-1 /weechat_\w+\.en\.html$
python-django-doc 3:3.2.25-0+deb12u7
python-sqlalchemy-doc 1.4.46+ds1-1
nova-doc 2:26.2.2-1~deb12u5
neutron-doc 2:21.0.0-7+deb12u1
cinder-doc 2:21.3.1-1~deb12u1
ironic-doc 1:21.4.4-0+deb12u2
keystone-doc 2:22.0.2-0+deb12u6
swift-doc 2.30.1-0+deb12u3
glance-doc 2:25.1.0-2+deb12u5
heat-doc 1:19.0.0-3
octavia-doc 11.0.0-2+deb12u1
manila-doc 1:15.1.0-2
LIST
}

fail() { echo "corpus: $*" >&2; exit 1; }

for tool in apt-get dpkg-deb sha256sum "$python"; do
  command -v "$tool" >/dev/null || fail "$tool is missing. Hint: this script needs Debian 12 and Python 3"
done
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || fail "$python is older than Python 3.9"

mkdir -p "$out/debs"
part=$out/debs/part
trap 'rm -rf "$part" "$out"/*.part' EXIT
# Prints the path of a package's file, which is downloaded unless it is there.
deb_of() {
  local package=$1 version=$2 found
  found=$(find "$out/debs" -maxdepth 1 -name "${package}_*.deb")
  if [ -z "$found" ]; then
    echo "corpus: downloading $package" >&2
    rm -rf "$part"
    mkdir "$part"
    # The version known here, or the one of today.
    (cd "$part" && { apt-get download -qq "$package=$version" || apt-get download -qq "$package"; }) \
      >"$part/log" 2>&1 || fail "$package cannot be downloaded: $(grep '^E:' "$part/log" | tail -n 1)
  Hint: Debian 12 (bookworm, main) must be in apt's sources, and its lists new: apt-get update, as root. Then
  start this again; what is downloaded stays. Without the package: take its line out of the list in $0"
    mv "$part"/*.deb "$out/debs/"
    found=$(find "$out/debs" -maxdepth 1 -name "${package}_*.deb")
  fi
  [ "$(wc -l <<<"$found")" = 1 ] ||
    fail "$package is in $out/debs in several versions. Hint: remove all but one"
  echo "$found"
}

while read -r package version files kind; do
  deb=$(deb_of "$package" "$version")
  has=$(dpkg-deb --field "$deb" Version) || fail "$deb is damaged. Hint: remove it and start this again"
  [ "$has" = "$version" ] || echo "corpus: note: $package is $has, not $version: expect other hashes" >&2
  echo "$package $deb ${files:--} ${kind:--}"
done < <(list) >"$out/debs.list.part"
mv "$out/debs.list.part" "$out/debs.list"

"$python" bench/corpus.py extract "$out" "$out/debs.list"
"$python" bench/corpus.py assemble "$out" "$out/debs.list"
(cd "$out" && sha256sum train.jsonl held_out.jsonl sources.tsv held_out/*.jsonl >SHA256SUMS.part &&
  mv SHA256SUMS.part SHA256SUMS && head -n 3 SHA256SUMS)
