/* run_network.c - runs a network's object on files: for tests on other processors.
 *
 *   cc -DNETWORK=name -include name.h run_network.c name.o -lm
 *   ./a.out INPUTS OUTPUTS      all inputs, one after the other, as bytes; all outputs likewise
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define RUN         JOIN(NETWORK, _run)
#define DESCRIBE    JOIN(NETWORK, _describe)

static size_t bytes_of(const struct bf_network_description *network,
                       const struct bf_tensor_description *tensor) {
    size_t bytes = (size_t)network->batch * (tensor->kind == BF_TENSOR_UINT8 ? 1 : 4);
    for (unsigned a = 0; a < tensor->rank; a++)
        bytes *= (size_t)tensor->dims[a];
    return bytes;
}

static void *aligned(size_t size) {
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory)
        exit(3);
    memset(memory, 0xFF, size); /* NaN wherever it is read before it is written */
    return memory;
}

int main(int argc, char **argv) {
    const struct bf_network_description *network = DESCRIBE();
    void *in[16], *out[16];
    FILE *from = argc > 2 ? fopen(argv[1], "rb") : NULL;
    FILE *to = argc > 2 ? fopen(argv[2], "wb") : NULL;
    if (!from || !to)
        return 2;
    for (int64_t i = 0; i < network->input_count; i++) {
        size_t size = bytes_of(network, &network->inputs[i]);
        in[i] = aligned(size);
        if (fread(in[i], 1, size, from) != size)
            return 2;
    }
    for (int64_t i = 0; i < network->output_count; i++)
        out[i] = aligned(bytes_of(network, &network->outputs[i]));
    void *workspace = aligned((size_t)network->workspace_size);
    int status = RUN((const void *)in, (const void *)out, workspace);
    for (int64_t i = 0; i < network->output_count; i++)
        fwrite(out[i], 1, bytes_of(network, &network->outputs[i]), to);
    return status ? 1 : fclose(to) != 0;
}
