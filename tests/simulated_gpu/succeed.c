/* Calls of CUDA's runtime, driver and cuBLAS that succeed whatever they are given, and do nothing. Without CUDA's
   headers, so that they need no arguments. */
#define SUCCEED(name) __attribute__((visibility("default"))) int name(void) { return 0; }

/* runtime */
SUCCEED(cudaGetLastError) SUCCEED(cudaPeekAtLastError) SUCCEED(cudaProfilerStart) SUCCEED(cudaProfilerStop)
SUCCEED(cudaDeviceEnablePeerAccess) SUCCEED(cudaHostRegister) SUCCEED(cudaHostUnregister) SUCCEED(cudaMemcpyToSymbol)
SUCCEED(cudaStreamDestroy) SUCCEED(cudaStreamQuery) SUCCEED(cudaStreamWaitEvent)
SUCCEED(cudaStreamUpdateCaptureDependencies) SUCCEED(cudaEventDestroy) SUCCEED(cudaEventRecord)
SUCCEED(cudaEventRecordWithFlags) SUCCEED(cudaGraphDestroy) SUCCEED(cudaGraphExecDestroy)
SUCCEED(cudaGraphRetainUserObject) SUCCEED(cudaUserObjectRelease) SUCCEED(cudaFuncSetAttribute)
SUCCEED(cudaKernelSetAttributeForDevice)

/* driver */
SUCCEED(cuInit) SUCCEED(cuCtxSetCurrent) SUCCEED(cuCtxPushCurrent_v2) SUCCEED(cuModuleUnload) SUCCEED(cuFuncSetAttribute)
SUCCEED(cuFuncSetCacheConfig) SUCCEED(cuCtxGetLimit) SUCCEED(cuCtxSetLimit) SUCCEED(cuTensorMapEncodeTiled)
SUCCEED(cuTensorMapEncodeIm2col) SUCCEED(cuLinkAddData_v2) SUCCEED(cuLinkComplete) SUCCEED(cuLinkCreate_v2)
SUCCEED(cuOccupancyMaxActiveBlocksPerMultiprocessor)

/* cuBLAS */
SUCCEED(cublasDestroy_v2) SUCCEED(cublasSetStream_v2) SUCCEED(cublasSetWorkspace_v2) SUCCEED(cublasSetMathMode)
SUCCEED(cublasSetPointerMode_v2) SUCCEED(cublasSetSmCountTarget)
#define ANSWER_0(name) __attribute__((visibility("default"))) int name(void* handle, int* out) { return *out = 0; }
ANSWER_0(cublasGetMathMode) ANSWER_0(cublasGetPointerMode_v2)
__attribute__((visibility("default"))) int cublasCreate_v2(void** handle) {
  static int something;
  *handle = &something;
  return 0;
}

/* Products of matrices are launches. */
extern void simulated_gpu_product(void);
#define PRODUCT(name) __attribute__((visibility("default"))) int name(void) { simulated_gpu_product(); return 0; }
PRODUCT(cublasSgemm_v2) PRODUCT(cublasDgemm_v2) PRODUCT(cublasSgemmEx) PRODUCT(cublasGemmEx) PRODUCT(cublasSgemv_v2)
PRODUCT(cublasGemmStridedBatchedEx) PRODUCT(cublasSgemmStridedBatched) PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasDgemv_v2) PRODUCT(cublasSdot_v2) PRODUCT(cublasDdot_v2) PRODUCT(cublasDotEx) PRODUCT(cublasLtMatmul)

/* PyTorch asks cuBLASLt for an algorithm: the first of one, which needs no workspace. */
struct heuristic { unsigned long long algorithm[8]; unsigned long long workspace; int state; float waves; int reserved[4]; };
__attribute__((visibility("default"))) int cublasLtMatmulAlgoGetHeuristic(
    void* handle, void* operation, void* a, void* b, void* c, void* d, void* preference, int wanted,
    struct heuristic* results, int* found) {
  struct heuristic first = {{0}};
  *results = first;
  *found = 1;
  return 0;
}
