#!/bin/sh
# Android's getprop, for the properties that tools ask of a phone. The kernel's command line says which
# board this is: whoever attaches by serial alone still learns that its time is not a phone's.
given() { sed -n "s/.*\<$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

properties() {
  echo "ro.product.manufacturer=QEMU"
  echo "ro.product.model=QEMU virt, $(given tenpass.cpu)"
  echo "ro.product.device=$(given tenpass.board)"
  echo "ro.product.name=$(given tenpass.board)"
  echo "ro.product.cpu.abi=$(cat /etc/abi)"
  echo "ro.product.cpu.abilist=$(cat /etc/abi)"
  echo "ro.board.platform=qemu-virt"
  echo "ro.build.version.release=$(uname -r)"
  echo "ro.kernel.qemu=1"
  echo "ro.serialno=$(given tenpass.board)"
  echo "ro.tenpass.board=$(given tenpass.board)"
  echo "ro.tenpass.clock=$(given tenpass.clock)"
}

if [ $# -eq 0 ]; then
  properties | sed 's/\([^=]*\)=\(.*\)/[\1]: [\2]/'
else
  value=$(properties | sed -n "s/^$1=//p")
  echo "${value:-$2}"
fi
