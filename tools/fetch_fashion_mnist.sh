#!/usr/bin/env bash
# Prints the folder of Fashion-MNIST: the system's, or Debian's package fetched and unpacked below $1, which needs no root.
set -euo pipefail
installed=/usr/share/datasets/fashion-mnist
folder=$1/usr/share/datasets/fashion-mnist
for found in "$installed" "$folder"; do
  if [ -f "$found/train-images-idx3-ubyte.gz" ]; then echo "$found"; exit 0; fi
done
mkdir -p "$1"
cd "$1"
# A package list is needed once on a fresh machine; refreshing it needs root, a list that is there does not.
if ! apt-get download dataset-fashion-mnist >&2; then
  echo "fetching failed: run 'apt-get update' as root once, or give the folder of the images: make demo DATA=DIR" >&2
  exit 1
fi
dpkg -x dataset-fashion-mnist_*.deb .
rm -f dataset-fashion-mnist_*.deb
echo "$PWD/usr/share/datasets/fashion-mnist"
