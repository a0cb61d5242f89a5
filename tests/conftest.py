import os

# PyTensor's C linker, one of the modes tested, otherwise warns that it looked for a BLAS in vain.
os.environ["PYTENSOR_FLAGS"] = ",".join(
    flag for flag in (os.environ.get("PYTENSOR_FLAGS"), "blas__ldflags=") if flag
)
