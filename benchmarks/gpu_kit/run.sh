# What the kit runs in the checkout on the GPU machine, which has Python, CuPy, torch, Numba and pyarrow; results go to $OUT.
# Under eight minutes.
H=$(dirname "$0"); P=${PYTHON:-python3}; S=/tmp/winnow-site; OUT=${OUT:-$H/out}; mkdir -p $S/libcudf/lib64 "$OUT"
$P - "$H" $S <<'PY'
import lzma, shutil, sys, tarfile
kit, site = sys.argv[1:]
tarfile.open(f"{kit}/b.txz").extractall(site, filter="fully_trusted")
shutil.copyfileobj(lzma.open(f"{kit}/a.xz"), open(f"{site}/libcudf/lib64/libcudf.so", "wb"), 1 << 24)
PY
V=$($P -c "import sysconfig; print(sysconfig.get_path('purelib'))")
export LD_LIBRARY_PATH=$V/nvidia/cu13/lib:$LD_LIBRARY_PATH PYTHONPATH=$S:$PWD PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/tmp/winnow-numba
{ date -u; nvidia-smi --query-gpu=name,driver_version --format=csv; $P -m pip list 2>/dev/null | grep -iE '^(numpy|numba|pandas|pyarrow|cupy|torch)'; } | tee "$OUT/versions"
$P -c "import cudf; print(cudf.Series(['a', 'bc']).str.len().to_arrow())" 2>&1 | tail -3 | tee "$OUT/import"
timeout 280 $P -m pytest -m gpu -rs -q -p benchmarks.gpu_kit.subset -p no:cacheprovider tests/stages/kernels/test_gpu_arrays.py tests/test_gpu.py 2>&1 | tee "$OUT/tests.log" | tail -40
set --; for MODEL in "$H"/*.ftz; do [ -e "$MODEL" ] && set -- "$@" --fasttext "$MODEL"; done
timeout 150 $P -m benchmarks.gpu_rates --out "$OUT" "$@" 2>&1 | tail -60 | tee "$OUT/rates.log"
