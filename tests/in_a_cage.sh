#!/bin/sh
# Run a command where it can destroy nothing: own mounts and processes, everything read-only but a fresh /tmp and /dev.
# in_a_cage.sh COMMAND ...; needs the right to unshare.
set -e
if [ "$1" != --inside ]; then
    exec unshare -m -p -f --mount-proc sh "$0" --inside "$@"
fi
shift
mount --make-rprivate /
mount -t tmpfs -o size=3g tmpfs /tmp
mkdir /tmp/dev
for device in null zero full random urandom; do
    cp -a "/dev/$device" /tmp/dev/
done
mkdir /tmp/dev/shm /tmp/dev/pts
mount -t tmpfs tmpfs /tmp/dev/shm
ln -s /proc/self/fd /tmp/dev/fd
ln -s /proc/self/fd/0 /tmp/dev/stdin
ln -s /proc/self/fd/1 /tmp/dev/stdout
ln -s /proc/self/fd/2 /tmp/dev/stderr
mount --rbind /tmp/dev /dev
while read -r _ place _; do
    case "$place" in
    /tmp | /tmp/* | /dev | /dev/* | /proc) ;;
    *) mount -o remount,bind,ro "$place" 2>/dev/null || mount -t tmpfs tmpfs "$place" 2>/dev/null || true ;;
    esac
done </proc/self/mounts
if touch "$(dirname "$0")/.probe" 2>/dev/null; then
    rm "$(dirname "$0")/.probe"
    echo "the cage is open" >&2
    exit 3
fi
cd /tmp
export HOME=/tmp TMPDIR=/tmp
exec "$@"
