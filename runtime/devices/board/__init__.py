"""An arm64 Linux board, emulated by QEMU: what it holds, how its image is made and kept, and how it is booted.

The board counts instructions: with QEMU's `-icount shift=0` its clock moves on by one nanosecond an instruction, so
what an agent measures there in nanoseconds is the number of instructions, the same on every host and in every run.
"""
