#!/bin/sh
# Keeps the rates of every day for a year; auditors of the previous system ask for them.
set -eu
archive=/var/lib/tariffs/archive
mkdir -p "$archive"
cd "$archive"
cp /etc/tariffs/rates.conf .new
mv .new "$(date +%F)"
find . -type f -mtime +365 -delete
