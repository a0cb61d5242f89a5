"""The threads themselves: a pool in LLVM's own language, which compiled code calls by name.

It is compiled when it is imported, in each process anew. Machine code in PyTensor's cache has only
the names of its functions, so it needs no new key unless these take other arguments.
"""

import ctypes
import platform
import re
import signal
import time

import llvmlite.binding

PATIENCE = 100_000
"""Nanoseconds for which the caller waits for other threads, before it falls asleep."""

WATCH = 2_000_000
"""Nanoseconds for which a thread looks for work, before it falls asleep.

More than lies between two large products of a step: to be woken takes long on a virtual machine.
"""

TOLERANCE = 5_000
"""Nanoseconds that are not counted as lost."""

PENALTY = 10
"""For how many times the time that was lost through other threads they are not used.

Lost is what work took longer than one thread would have needed. So in the long run all of it takes
a tenth longer at most, whatever keeps the cores busy.
"""

CREDIT = 200_000_000
"""Nanoseconds of that which are let off where nothing has been lost for as long.

Every machine takes a core away now and then. Without this, each time would cost as if it did so
all the time.
"""

ALONE = """
declare i64 @llvm.abs.i64(i64, i1)

define void @dae_call_all(ptr %block, ptr %arguments, i64 %blocks) {
entry:
  %number = call i64 @llvm.abs.i64(i64 %blocks, i1 false)
  %any = icmp sgt i64 %number, 0
  br i1 %any, label %next, label %end
next:
  %i = phi i64 [ 0, %entry ], [ %after, %next ]
  call void %block(ptr %arguments, i64 %i)
  %after = add i64 %i, 1
  %more = icmp slt i64 %after, %number
  br i1 %more, label %next, label %end
end:
  ret void
}
"""
"""Call all blocks, one after the other; their number may be negative: see `write_shared`."""

NO_POOL = """
@threads = global i64 1
@penalty = global i64 0
@alone_until = global i64 0

define void @reset() {
  ret void
}

define i64 @dae_threads() {
  ret i64 1
}

define void @dae_share(ptr %block, ptr %arguments, i64 %blocks) {
  call void @dae_call_all(ptr %block, ptr %arguments, i64 %blocks)
  ret void
}
"""
"""What there is in the place of `POOL` on systems without the threads of POSIX."""

POOL = """
@threads = global i64 1                        ; how many may work, with the caller
@penalty = global i64 {penalty}                ; see PENALTY
@workers = internal global i64 0               ; how many have been made, without the caller
@occupied = internal global i64 0              ; 1 while there is a piece of work
@alone_until = global i64 0                    ; a time, in nanoseconds; may be over
@block = internal global ptr null              ; the piece of work
@arguments = internal global ptr null
@left = internal global i64 0, align 128       ; blocks that nobody has taken
@unfinished = internal global i64 0, align 128 ; blocks that are not done
@asleep = internal global i64 0, align 128     ; workers that sleep
@is_waiting = internal global i64 0            ; 1 while the caller sleeps
@mutex = internal global [128 x i8] zeroinitializer, align 128
@work_is_there = internal global [128 x i8] zeroinitializer, align 128
@work_is_done = internal global [128 x i8] zeroinitializer, align 128

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @clock_gettime(i32, ptr)

; What a process begins with, after a fork as well: no workers, whatever they were doing. Where
; there are workers it must not be called: they may sleep on what is made anew here.
define void @reset() {
  store i64 0, ptr @workers
  store i64 0, ptr @occupied
  store i64 0, ptr @alone_until
  store i64 0, ptr @left
  store i64 0, ptr @unfinished
  store i64 0, ptr @asleep
  store i64 0, ptr @is_waiting
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @work_is_there, ptr null)
  call i32 @pthread_cond_init(ptr @work_is_done, ptr null)
  ret void
}

define internal i64 @nanoseconds(i32 %clock) {
  %time = alloca [2 x i64]
  call i32 @clock_gettime(i32 %clock, ptr %time)
  %seconds = load i64, ptr %time
  %rest_place = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest_place
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %rest
  ret i64 %sum
}

; Take blocks and do them until none is left; return how many that were.
define internal i64 @work() {
entry:
  br label %look
look:
  %done = phi i64 [ 0, %entry ], [ %done, %take ], [ %done_now, %finish ]
  %left = load atomic i64, ptr @left seq_cst, align 8
  %any = icmp sgt i64 %left, 0
  br i1 %any, label %take, label %end
take:
  %rest = sub i64 %left, 1
  %pair = cmpxchg ptr @left, i64 %left, i64 %rest seq_cst seq_cst
  %is_mine = extractvalue { i64, i1 } %pair, 1
  br i1 %is_mine, label %call, label %look
call:
  ; These belong to this very block: there is no other piece of work until it is done.
  %block = load ptr, ptr @block
  %arguments = load ptr, ptr @arguments
  call void %block(ptr %arguments, i64 %rest)
  %done_now = add i64 %done, 1
  %before = atomicrmw sub ptr @unfinished, i64 1 seq_cst
  %waiting = load atomic i64, ptr @is_waiting seq_cst, align 8
  %is_last = icmp eq i64 %before, 1
  %is_waited_for = icmp ne i64 %waiting, 0
  %must_tell = and i1 %is_last, %is_waited_for
  br i1 %must_tell, label %tell, label %finish
tell:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @work_is_done)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %finish
finish:
  br label %look
end:
  ret i64 %done
}

; Whether this worker may work, and there is a block left.
define internal i1 @is_wanted(i64 %worker) {
  %left = load atomic i64, ptr @left seq_cst, align 8
  %threads = load atomic i64, ptr @threads monotonic, align 8
  %workers = sub i64 %threads, 1
  %any = icmp sgt i64 %left, 0
  %may = icmp slt i64 %worker, %workers
  %wanted = and i1 %any, %may
  ret i1 %wanted
}

define internal ptr @worker(ptr %argument) {
entry:
  %number = ptrtoint ptr %argument to i64
  br label %start
start:
  %begin = call i64 @nanoseconds(i32 {monotonic})
  %end = add i64 %begin, {watch}
  br label %look
look:  ; It costs more to fall asleep and to be woken than to look a while for the next work.
  %wanted = call i1 @is_wanted(i64 %number)
  br i1 %wanted, label %work, label %pause
pause:
  {pause}
  %now = call i64 @nanoseconds(i32 {monotonic})
  %in_time = icmp slt i64 %now, %end
  br i1 %in_time, label %look, label %lie_down
work:
  call i64 @work()
  br label %start
lie_down:
  call i32 @pthread_mutex_lock(ptr @mutex)
  atomicrmw add ptr @asleep, i64 1 seq_cst
  br label %dream
dream:
  %wanted_now = call i1 @is_wanted(i64 %number)
  br i1 %wanted_now, label %get_up, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr @work_is_there, ptr @mutex)
  br label %dream
get_up:
  atomicrmw sub ptr @asleep, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %work
}

; Make the workers that are missing; those that the system refuses are not asked for again.
define internal void @make_workers() {
entry:
  %thread = alloca ptr
  %all = alloca [16 x i64]
  %old = alloca [16 x i64]
  br label %look
look:
  %workers = load i64, ptr @workers
  %threads = load atomic i64, ptr @threads monotonic, align 8
  %others = sub i64 %threads, 1
  %missing = icmp slt i64 %workers, %others
  br i1 %missing, label %make, label %end
make:  ; Signals are for the threads of Python.
  call i32 @sigfillset(ptr %all)
  call i32 @pthread_sigmask(i32 {setmask}, ptr %all, ptr %old)
  %argument = inttoptr i64 %workers to ptr
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr %argument)
  call i32 @pthread_sigmask(i32 {setmask}, ptr %old, ptr null)
  %failed = icmp ne i32 %error, 0
  %now = add i64 %workers, 1
  br i1 %failed, label %refused, label %made
made:
  %handle = load ptr, ptr %thread
  call i32 @pthread_detach(ptr %handle)
  store i64 %now, ptr @workers
  br label %look
refused:
  store atomic i64 %now, ptr @threads monotonic, align 8
  br label %end
end:
  ret void
}

; How many threads there are for a piece of work now.
define i64 @dae_threads() {
entry:
  %threads = load atomic i64, ptr @threads monotonic, align 8
  %is_one = icmp slt i64 %threads, 2
  br i1 %is_one, label %one, label %look
look:
  %occupied = load atomic i64, ptr @occupied seq_cst, align 8
  %is_free = icmp eq i64 %occupied, 0
  %now = call i64 @nanoseconds(i32 {monotonic})
  %alone_until = load atomic i64, ptr @alone_until monotonic, align 8
  %may = icmp sge i64 %now, %alone_until
  %has_more = and i1 %is_free, %may
  br i1 %has_more, label %all, label %one
all:
  ret i64 %threads
one:
  ret i64 1
}

; Do a piece of work: call a function with the same arguments and each number below that of blocks.
define void @dae_share(ptr %block, ptr %arguments, i64 %blocks) {
entry:
  %threads = load atomic i64, ptr @threads monotonic, align 8
  %is_one = icmp slt i64 %threads, 2
  %is_small = icmp slt i64 %blocks, 2
  %is_simple = or i1 %is_one, %is_small
  br i1 %is_simple, label %alone, label %occupy
occupy:
  %pair = cmpxchg ptr @occupied, i64 0, i64 1 seq_cst seq_cst
  %is_free = extractvalue { i64, i1 } %pair, 1
  br i1 %is_free, label %look, label %alone
look:
  %begin = call i64 @nanoseconds(i32 {monotonic})
  %alone_until = load i64, ptr @alone_until
  %may = icmp sge i64 %begin, %alone_until
  br i1 %may, label %share, label %leave
leave:
  store atomic i64 0, ptr @occupied seq_cst, align 8
  br label %alone
alone:
  call void @dae_call_all(ptr %block, ptr %arguments, i64 %blocks)
  ret void
share:
  call void @make_workers()
  %begin_cpu = call i64 @nanoseconds(i32 {thread_time})
  store ptr %block, ptr @block
  store ptr %arguments, ptr @arguments
  store atomic i64 %blocks, ptr @unfinished seq_cst, align 8
  store atomic i64 %blocks, ptr @left seq_cst, align 8
  %asleep = load atomic i64, ptr @asleep seq_cst, align 8
  %must_wake = icmp sgt i64 %asleep, 0
  br i1 %must_wake, label %wake, label %work
wake:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @work_is_there)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %work
work:
  %mine = call i64 @work()
  %middle = call i64 @nanoseconds(i32 {monotonic})
  %end_of_patience = add i64 %middle, {patience}
  br label %look_again
look_again:
  %now = phi i64 [ %middle, %work ], [ %later, %pause ]
  %unfinished = load atomic i64, ptr @unfinished seq_cst, align 8
  %more = icmp sgt i64 %unfinished, 0
  br i1 %more, label %pause, label %finished
pause:
  {pause}
  %later = call i64 @nanoseconds(i32 {monotonic})
  %in_time = icmp slt i64 %later, %end_of_patience
  br i1 %in_time, label %look_again, label %lie_down
lie_down:  ; so that the system can give this core to the worker
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i64 1, ptr @is_waiting seq_cst, align 8
  br label %dream
dream:
  %unfinished_still = load atomic i64, ptr @unfinished seq_cst, align 8
  %more_still = icmp sgt i64 %unfinished_still, 0
  br i1 %more_still, label %sleep, label %get_up
sleep:
  call i32 @pthread_cond_wait(ptr @work_is_done, ptr @mutex)
  br label %dream
get_up:
  store atomic i64 0, ptr @is_waiting seq_cst, align 8
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %finished
finished:
  ; How much longer it took than this thread would have needed alone, by the time of its blocks.
  %busy = phi i64 [ %now, %look_again ], [ %end_of_patience, %get_up ]
  %end_cpu = call i64 @nanoseconds(i32 {thread_time})
  %end = call i64 @nanoseconds(i32 {monotonic})
  %looked = sub i64 %busy, %middle
  %whole = sub i64 %end, %begin
  %whole_cpu = sub i64 %end_cpu, %begin_cpu
  %worked = sub i64 %whole_cpu, %looked
  %mine_or_one = call i64 @llvm.smax.i64(i64 %mine, i64 1)
  %usual = sdiv i64 %worked, %mine_or_one
  %by_itself = mul i64 %usual, %blocks
  %and_some = add i64 %by_itself, {tolerance}
  %lost = sub i64 %whole, %and_some
  %is_lost = icmp sgt i64 %lost, 0
  br i1 %is_lost, label %go_on_alone, label %release
go_on_alone:
  %penalty = load atomic i64, ptr @penalty monotonic, align 8
  %long = mul i64 %lost, %penalty
  %let_off = sub i64 %end, {credit}
  %from = call i64 @llvm.smax.i64(i64 %alone_until, i64 %let_off)
  %until = add i64 %from, %long
  store i64 %until, ptr @alone_until
  br label %release
release:
  store atomic i64 0, ptr @occupied seq_cst, align 8
  ret void
}

declare i64 @llvm.smax.i64(i64, i64)
{declare_pause}
"""


class Pool:
    """The functions above, compiled, and under names that machine code can call.

    Parameters
    ----------
    has_threads : bool
        Whether the system has the threads of POSIX. All work is done by the caller if not.
    """

    def __init__(self, has_threads):
        self.has_threads = has_threads
        source = ALONE + (with_constants(POOL) if has_threads else NO_POOL)
        module = llvmlite.binding.parse_assembly(source)
        target = llvmlite.binding.Target.from_default_triple().create_target_machine(opt=2)
        engine = llvmlite.binding.create_mcjit_compiler(module, target)
        engine.finalize_object()
        for name in ("dae_threads", "dae_share"):
            llvmlite.binding.add_symbol(name, engine.get_function_address(name))
        self.threads, self.penalty, self.alone_until = (
            ctypes.c_int64.from_address(engine.get_global_value_address(name))
            for name in ("threads", "penalty", "alone_until")
        )
        self.reset = ctypes.CFUNCTYPE(None)(engine.get_function_address("reset"))
        self.reset()
        # There may be threads in this code until the very end of the process.
        engine.detach()


def with_constants(source):
    """Return LLVM assembly with the values of the names in braces."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    values = {
        "monotonic": time.CLOCK_MONOTONIC,
        "thread_time": time.CLOCK_THREAD_CPUTIME_ID,
        "setmask": int(signal.SIG_SETMASK),
        "pause": "call void @llvm.x86.sse2.pause()" if is_x86 else "",
        "declare_pause": "declare void @llvm.x86.sse2.pause()" if is_x86 else "",
        "patience": PATIENCE,
        "watch": WATCH,
        "tolerance": TOLERANCE,
        "penalty": PENALTY,
        "credit": CREDIT,
    }
    return re.sub(r"{(\w+)}", lambda match: str(values[match[1]]), source)
