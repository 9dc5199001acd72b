#!/system/bin/sh
# Android's getprop, for the properties that tools ask of a phone. The kernel's command line says which
# board this is: whoever attaches by serial alone still learns that its time is not a phone's.
for word in $(</proc/cmdline); do
  case $word in
    tenpass.board=*) board=${word#*=} ;;
    tenpass.clock=*) clock=${word#*=} ;;
    tenpass.cpu=*) cpu=${word#*=} ;;
  esac
done
read -r kernel </proc/sys/kernel/osrelease

properties="$(</system/build.prop)
ro.board.platform=qemu-virt
ro.build.type=userdebug
ro.build.version.release=$kernel
ro.debuggable=1
ro.kernel.qemu=1
ro.product.device=$board
ro.product.manufacturer=QEMU
ro.product.model=QEMU virt, $cpu
ro.product.name=$board
ro.serialno=$board
ro.tenpass.board=$board
ro.tenpass.clock=$clock"

IFS='
'
for line in $properties; do
  if [ $# -eq 0 ]; then
    print -r "[${line%%=*}]: [${line#*=}]"
  elif [ "${line%%=*}" = "$1" ]; then
    print -r "${line#*=}"
    exit
  fi
done
[ $# -eq 0 ] || print -r "$2"
