"""What the multiply-add units of the cores can do: a loop on registers, without memory."""

import ctypes

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core.cgutils import for_range_slice, intp_t


def compile_loop(dtype):
    """Compile a loop that multiplies and adds on registers.

    Parameters
    ----------
    dtype : {'float32', 'float64'}

    Returns
    -------
    function : callable
        Takes a number of steps.
    flops : int
        Operations of a step.
    """
    from dae.compiler._block import registers

    element = {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]
    register_size, height = registers()
    sums = 2 * height  # as many as a tile of a product has
    vector = ir.VectorType(element, register_size // {"float32": 4, "float64": 8}[dtype])
    module = ir.Module()
    kind = ir.FunctionType(element, [intp_t])
    function = ir.Function(module, kind, "peak")
    builder = ir.IRBuilder(function.append_basic_block())
    places = [builder.alloca(vector) for _ in range(sums)]
    for i, place in enumerate(places):
        builder.store(vector([float(i)] * vector.count), place)
    scale, shift = vector([0.999] * vector.count), vector([0.001] * vector.count)
    with for_range_slice(builder, intp_t(0), function.args[0], intp_t(1)):
        for place in places:
            value = builder.load(place, typ=vector)
            product = builder.fmul(value, scale, flags=["contract"])
            builder.store(builder.fadd(product, shift, flags=["contract"]), place)
    total = builder.load(places[0], typ=vector)
    for place in places[1:]:
        total = builder.fadd(total, builder.load(place, typ=vector))
    builder.ret(builder.extract_element(total, ir.IntType(32)(0)))

    host = {
        "cpu": llvm.get_host_cpu_name(),
        "features": llvm.get_host_cpu_features().flatten(),
    }
    target = llvm.Target.from_default_triple().create_target_machine(opt=3, **host)
    parsed = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    passes = llvm.create_pass_builder(target, options)
    passes.getModulePassManager().run(parsed, passes)
    engine = llvm.create_mcjit_compiler(parsed, target)
    result = {"float32": ctypes.c_float, "float64": ctypes.c_double}[dtype]
    call = ctypes.CFUNCTYPE(result, ctypes.c_ssize_t)(engine.get_function_address("peak"))
    call.engine = engine  # which owns the code
    return call, 2 * sums * vector.count
