// A CUDA runtime and driver without a GPU: calls succeed, memory is the host's, kernels do nothing and are counted.
//
// Loaded before PyTorch's own (LD_PRELOAD), it shows what a program asks of a GPU: how often it launches, copies and
// waits, and what a real runtime refuses while a stream is captured. Numbers that come back from the "GPU" are zeros.
// What needs no arguments is in `succeed.c`.
#define __CUDA_API_VERSION_INTERNAL
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#define EXPORT extern "C" __attribute__((visibility("default")))

// ---- What is counted -----------------------------------------------------------------------------------------------

enum Count {
  LAUNCHES,         // kernels, products of matrices, fills
  COPIES_TO_GPU,    // from the host, pinned or not
  COPIES_TO_HOST,
  WAITS,            // the host waits for a stream, an event or the device
  CAPTURES,
  CAPTURED_NODES,
  GRAPH_LAUNCHES,
  REFUSED,          // what may not be done while a stream is captured
  COUNTS
};
static std::atomic<long long> counts[COUNTS];

EXPORT void simulated_gpu_counts(long long* out) {
  for (int i = 0; i < COUNTS; i++) out[i] = counts[i];
}

// ---- Streams and what may not be done while one is captured ----------------------------------------------------------

struct Stream {
  bool capturing = false;
  unsigned long long capture = 0;
};
struct Graph {
  size_t nodes;
};
static thread_local Stream* captured_here = nullptr;
static thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;
static thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
static thread_local bool invalidated = false;
static std::atomic<unsigned long long> last_capture{0};
static std::atomic<size_t> nodes{0};

static bool is_capturing(cudaStream_t stream) {
  return stream && stream != cudaStreamLegacy && stream != cudaStreamPerThread && ((Stream*)stream)->capturing;
}

static cudaError_t refuse(const char* what) {
  counts[REFUSED]++;
  invalidated = true;
  fprintf(stderr, "simulated GPU: refused %s while a stream is captured\n", what);
  return cudaErrorStreamCaptureUnsupported;
}

// Allocations and the like: refused in a capturing thread, unless it has asked to be let through.
static bool is_unsafe() {
  return captured_here && thread_mode != cudaStreamCaptureModeRelaxed && capture_mode != cudaStreamCaptureModeRelaxed;
}

static cudaError_t launch(cudaStream_t stream) {
  if (is_capturing(stream)) nodes++, counts[CAPTURED_NODES]++;
  else counts[LAUNCHES]++;
  return cudaSuccess;
}

// cuBLAS is given its stream beforehand; a capturing thread has no other.
EXPORT void simulated_gpu_product() { launch((cudaStream_t)captured_here); }

EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = (cudaStream_t) new Stream;
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
EXPORT cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }
EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
  *priority = 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  counts[WAITS]++;
  return is_capturing(stream) ? refuse("a wait for the captured stream") : cudaSuccess;
}
EXPORT cudaError_t cudaDeviceSynchronize() {
  counts[WAITS]++;
  return captured_here ? refuse("a wait for the device") : cudaSuccess;
}
EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t) {
  counts[WAITS]++;
  return is_unsafe() ? refuse("a wait for an event") : cudaSuccess;
}
EXPORT cudaError_t cudaEventQuery(cudaEvent_t) { return is_unsafe() ? refuse("a query of an event") : cudaSuccess; }
EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = (cudaEvent_t) new int;
  return cudaSuccess;
}
EXPORT cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
EXPORT cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1.0f;
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t call, void* data, unsigned) {
  call(stream, cudaSuccess, data);
  return cudaSuccess;
}
EXPORT cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t call, void* data) {
  call(data);
  return cudaSuccess;
}

EXPORT cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (!stream) return refuse("the capture of the default stream");
  captured_here = (Stream*)stream;
  captured_here->capturing = true;
  captured_here->capture = ++last_capture;
  capture_mode = mode;
  invalidated = false;
  nodes = 0;
  counts[CAPTURES]++;
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t, const cudaGraphNode_t*,
                                                 const cudaGraphEdgeData*, size_t, cudaStreamCaptureMode mode) {
  return cudaStreamBeginCapture(stream, mode);
}
EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  ((Stream*)stream)->capturing = false;
  captured_here = nullptr;
  *graph = invalidated ? nullptr : (cudaGraph_t) new Graph{nodes};
  return invalidated ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}
EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = is_capturing(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                            unsigned long long* id, cudaGraph_t* graph, const cudaGraphNode_t** before,
                                            const cudaGraphEdgeData** edges, size_t* count) {
  cudaStreamIsCapturing(stream, status);
  if (id) *id = is_capturing(stream) ? ((Stream*)stream)->capture : 0;
  if (graph) *graph = (cudaGraph_t)stream;
  if (before) *before = nullptr;
  if (edges) *edges = nullptr;
  if (count) *count = 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = ((Graph*)graph)->nodes;
  return cudaSuccess;
}
EXPORT cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t, cudaGraphNode_t*, cudaGraphEdgeData*, size_t* count) {
  *count = 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = (cudaGraphExec_t)graph;
  return cudaSuccess;
}
EXPORT cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) {
  counts[GRAPH_LAUNCHES]++;
  return cudaSuccess;
}
EXPORT cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void*, cudaHostFn_t, unsigned, unsigned) {
  *object = (cudaUserObject_t) new int;
  return cudaSuccess;
}

// ---- Memory ----------------------------------------------------------------------------------------------------------

static const size_t TOTAL = (size_t)16 << 30;
static std::mutex mutex;
static std::map<char*, size_t> on_gpu, pinned;
static size_t used = 0;

static bool lies_in(const std::map<char*, size_t>& ranges, const void* pointer) {
  auto after = ranges.upper_bound((char*)pointer);
  if (after == ranges.begin()) return false;
  auto range = std::prev(after);
  return (char*)pointer < range->first + range->second;
}

EXPORT cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  if (is_unsafe()) return refuse("an allocation");
  std::lock_guard<std::mutex> lock(mutex);
  if (used + bytes > TOTAL) return cudaErrorMemoryAllocation;
  *pointer = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (*pointer == MAP_FAILED) return cudaErrorMemoryAllocation;
  on_gpu[(char*)*pointer] = bytes;
  used += bytes;
  return cudaSuccess;
}
EXPORT cudaError_t cudaFree(void* pointer) {
  if (pointer && is_unsafe()) return refuse("freeing memory");
  std::lock_guard<std::mutex> lock(mutex);
  auto range = on_gpu.find((char*)pointer);
  if (range != on_gpu.end()) {
    munmap(pointer, range->second);
    used -= range->second;
    on_gpu.erase(range);
  }
  return cudaSuccess;
}
EXPORT cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  if (is_unsafe()) return refuse("an allocation of pinned memory");
  if (posix_memalign(pointer, 4096, bytes)) return cudaErrorMemoryAllocation;
  std::lock_guard<std::mutex> lock(mutex);
  pinned[(char*)*pointer] = bytes;
  return cudaSuccess;
}
EXPORT cudaError_t cudaFreeHost(void* pointer) {
  std::lock_guard<std::mutex> lock(mutex);
  pinned.erase((char*)pointer);
  free(pointer);
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* all_bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  *free_bytes = TOTAL - used;
  *all_bytes = TOTAL;
  return cudaSuccess;
}
EXPORT cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  std::lock_guard<std::mutex> lock(mutex);
  memset(attributes, 0, sizeof *attributes);
  attributes->type = lies_in(on_gpu, pointer)   ? cudaMemoryTypeDevice
                     : lies_in(pinned, pointer) ? cudaMemoryTypeHost
                                                : cudaMemoryTypeUnregistered;
  if (attributes->type != cudaMemoryTypeUnregistered) attributes->devicePointer = (void*)pointer;
  if (attributes->type == cudaMemoryTypeHost) attributes->hostPointer = (void*)pointer;
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (kind == cudaMemcpyDeviceToDevice) return launch(stream);  // as a kernel: there is nothing to copy
  bool is_to_host = kind == cudaMemcpyDeviceToHost;
  if (is_capturing(stream)) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!lies_in(pinned, is_to_host ? to : from)) return refuse("a copy of memory that is not pinned");
    nodes++, counts[CAPTURED_NODES]++;
    return cudaSuccess;
  }
  counts[is_to_host ? COPIES_TO_HOST : COPIES_TO_GPU]++;
  if (is_to_host) memset(to, 0, bytes);
  else memcpy(to, from, bytes);
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (is_unsafe()) return refuse("a copy that waits");
  counts[WAITS]++;
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
EXPORT cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t stream) { return launch(stream); }
EXPORT cudaError_t cudaMemset(void*, int, size_t) { return launch(nullptr); }
EXPORT cudaError_t cudaGetSymbolAddress(void** pointer, const void*) {
  static char symbols[1 << 20];
  *pointer = symbols;
  return cudaSuccess;
}

// ---- Kernels ---------------------------------------------------------------------------------------------------------

static thread_local struct {
  dim3 grid, block;
  size_t shared;
  void* stream;
} call;
EXPORT unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void* stream) {
  call = {grid, block, shared, stream};
  return 0;
}
EXPORT cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = call.grid, *block = call.block, *shared = call.shared, *(void**)stream = call.stream;
  return cudaSuccess;
}
EXPORT cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = (cudaKernel_t)function;
  return cudaSuccess;
}
EXPORT cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t s) { return launch(s); }
EXPORT cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t s) { return launch(s); }
EXPORT cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void*, void**) {
  return launch(config->stream);
}
EXPORT cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  memset(attributes, 0, sizeof *attributes);
  attributes->maxThreadsPerBlock = 1024, attributes->numRegs = 32, attributes->maxDynamicSharedSizeBytes = 49152;
  attributes->ptxVersion = attributes->binaryVersion = 90;
  return cudaSuccess;
}
EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t,
                                                                          unsigned) {
  *blocks = 2;
  return cudaSuccess;
}

// ---- The device: one, of compute capability 9.0 ----------------------------------------------------------------------

EXPORT cudaError_t cudaGetDeviceCount(int* number) {
  *number = 1;
  return cudaSuccess;
}
EXPORT cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaSetDevice(int device) { return device ? cudaErrorInvalidDevice : cudaSuccess; }
EXPORT cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  memset(properties, 0, sizeof *properties);
  strcpy(properties->name, "simulated GPU");
  properties->totalGlobalMem = TOTAL;
  properties->major = 9;
  properties->multiProcessorCount = 132;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
  properties->maxThreadsDim[2] = 64;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->maxBlocksPerMultiProcessor = 32;
  properties->regsPerBlock = properties->regsPerMultiprocessor = 65536;
  properties->sharedMemPerBlock = 49152;
  properties->sharedMemPerBlockOptin = 232448;
  properties->sharedMemPerMultiprocessor = 233472;
  properties->maxGridSize[0] = 2147483647;
  properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
  properties->textureAlignment = 512;
  properties->l2CacheSize = 62914560;
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  cudaDeviceProp device;
  cudaGetDeviceProperties(&device, 0);
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = device.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = device.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = device.multiProcessorCount; break;
    case cudaDevAttrWarpSize: *value = device.warpSize; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = device.maxThreadsPerBlock; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = device.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = device.regsPerBlock; break;
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = device.regsPerMultiprocessor; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = device.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = device.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = device.sharedMemPerMultiprocessor; break;
    case cudaDevAttrMaxGridDimX: *value = device.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = device.maxGridSize[1]; break;
    case cudaDevAttrL2CacheSize: *value = device.l2CacheSize; break;
    default: *value = 1;
  }
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int) {
  snprintf(text, length, "0000:00:00.0");
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
EXPORT cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
EXPORT const char* cudaGetErrorString(cudaError_t error) {
  static thread_local char text[64];
  snprintf(text, sizeof text, "simulated CUDA error %d", error);
  return text;
}
EXPORT const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }

// ---- The driver, which Triton's kernels and PyTorch's look-ups go to ---------------------------------------------------

static cudaError_t set_pointer(void** out) {
  static int something;
  *out = &something;
  return cudaSuccess;
}
EXPORT int cuDeviceGetCount(int* number) { return cudaGetDeviceCount(number); }
EXPORT int cuDeviceGet(int* device, int) { return cudaGetDevice(device); }
EXPORT int cuCtxGetDevice(int* device) { return cudaGetDevice(device); }
EXPORT int cuDriverGetVersion(int* version) { return cudaDriverGetVersion(version); }
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int device) {
  return cudaDeviceGetAttribute(value, (cudaDeviceAttr)attribute, device);
}
EXPORT int cuCtxGetCurrent(void** context) { return set_pointer(context); }
EXPORT int cuCtxPopCurrent_v2(void** context) { return set_pointer(context); }
EXPORT int cuStreamGetCtx(void*, void** context) { return set_pointer(context); }
EXPORT int cuDevicePrimaryCtxRetain(void** context, int) { return set_pointer(context); }
EXPORT int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  if (flags) *flags = 0;
  if (active) *active = 1;
  return cudaSuccess;
}
EXPORT int cuModuleLoadData(void** module, const void*) { return set_pointer(module); }
EXPORT int cuModuleLoadDataEx(void** module, const void*, unsigned, void*, void*) { return set_pointer(module); }
EXPORT int cuModuleLoad(void** module, const char*) { return set_pointer(module); }
EXPORT int cuModuleGetFunction(void** function, void*, const char*) { return set_pointer(function); }
EXPORT int cuFuncGetAttribute(int* value, int attribute, void*) {
  *value = attribute == 0 ? 1024 : 0;  // CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
  return cudaSuccess;
}
EXPORT int cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void* stream) {
  return launch((cudaStream_t)stream);
}
EXPORT int cuLaunchKernelEx(const void* config) {  // six sizes, shared memory, then the stream
  return launch(*(cudaStream_t*)((const char*)config + 32));
}
EXPORT int cuPointerGetAttribute(void* value, int, unsigned long long pointer) {
  *(unsigned long long*)value = pointer;
  return cudaSuccess;
}
EXPORT int cuGetErrorString(int, const char** text) {
  *text = "simulated";
  return cudaSuccess;
}
EXPORT int cuGetErrorName(int error, const char** text) { return cuGetErrorString(error, text); }
EXPORT int cuOccupancyMaxActiveClusters(int* number, void*, void*) { return cudaGetDeviceCount(number); }
EXPORT cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                                    cudaDriverEntryPointQueryResult* result) {
  char newer[256];
  snprintf(newer, sizeof newer, "%s_v2", name);
  *function = dlsym(RTLD_DEFAULT, name);
  if (!*function) *function = dlsym(RTLD_DEFAULT, newer);
  if (!*function) *function = dlsym(RTLD_DEFAULT, "cuInit");  // which succeeds and does nothing
  if (result) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
