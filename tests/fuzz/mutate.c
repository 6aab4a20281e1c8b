/* Mutations of models that keep them decodable: random bytes mostly break a length or a name, and then the fuzzer sees
 * little more than the first checks of the importer. One mutation in four is still one of bytes. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "onnx/onnx-ml.pb-c.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second, size_t second_size,
                                 uint8_t *out, size_t max_size, unsigned seed);

typedef struct mutation {
    base_arena arena;
    ProtobufCAllocator allocator; /* of the arena: parts may be shared and moved freely */
    uint64_t state;
    Onnx__GraphProto *graph;
} mutation;

/* --- chance --------------------------------------------------------------------------------------------------- */

static uint32_t draw(mutation *m, size_t below)
{
    m->state = m->state * 6364136223846793005u + 1442695040888963407u;
    return below > 0 ? (uint32_t)((m->state >> 33) % below) : 0;
}

static int64_t draw_int(mutation *m, int64_t now)
{
    static const int64_t interesting[] = {0,         1,         -1,        2,         -2,        3,
                                          8,         16,        64,        255,       65536,     INT32_MAX,
                                          INT32_MIN, INT64_MAX, INT64_MIN, 1ll << 32, 1ll << 62, -(1ll << 62)};
    switch (draw(m, 4)) {
    case 0: return interesting[draw(m, sizeof interesting / sizeof *interesting)];
    case 1: return (int64_t)((uint64_t)now + draw(m, 7) - 3);
    default: return (int64_t)draw(m, 12) - 4;
    }
}

static const char *draw_op(mutation *m)
{
    static const char *const ops[] = {
#define OPERATOR(name, handler, op, note) #name,
#include "onnx/operators.def"
#undef OPERATOR
    };
    return ops[draw(m, sizeof ops / sizeof *ops)];
}

/* --- memory --------------------------------------------------------------------------------------------------- */

static void *allocate(void *arena, size_t size)
{
    return base_arena_alloc(arena, size);
}

static void release(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

static Onnx__ModelProto *unpack(mutation *m, const uint8_t *data, size_t size)
{
    return onnx__model_proto__unpack(&m->allocator, size, data);
}

static size_t pack(const Onnx__ModelProto *model, uint8_t *out, size_t max_size)
{
    size_t size = onnx__model_proto__get_packed_size(model);
    return size <= max_size ? onnx__model_proto__pack(model, out) : 0;
}

/* A copy of `count` items of `size` bytes with room for another one at `at`, zeroed. NULL: no memory. */
static void *with_room(mutation *m, const void *list, size_t count, size_t size, size_t at)
{
    char *grown = base_arena_alloc_array(&m->arena, count + 1, size);
    if (grown != NULL && count > 0) {
        memcpy(grown, list, at * size);
        memcpy(grown + (at + 1) * size, (const char *)list + at * size, (count - at) * size);
    }
    return grown;
}

/* Puts one more item, `value`, at `at` of a message's list. */
#define INSERT(m, list, count, at, value)                                                                              \
    do {                                                                                                               \
        void *grown_ = with_room((m), (list), (count), sizeof *(list), (at));                                          \
        if (grown_ != NULL) {                                                                                          \
            (list) = grown_;                                                                                           \
            (list)[at] = (value);                                                                                      \
            (count)++;                                                                                                 \
        }                                                                                                              \
    } while (0)

/* --- mutations ------------------------------------------------------------------------------------------------ */

/* The name of an input, an initialiser or another node's output, rarely none. */
static char *draw_value(mutation *m)
{
    Onnx__GraphProto *graph = m->graph;
    const size_t total = graph->n_input + graph->n_initializer + graph->n_node;
    size_t at = draw(m, total + 1);
    char *name = NULL;
    if (at < graph->n_input) {
        name = graph->input[at]->name;
    } else if (at -= graph->n_input, at < graph->n_initializer) {
        name = graph->initializer[at]->name;
    } else if (at -= graph->n_initializer, at < graph->n_node && graph->node[at]->n_output > 0) {
        name = graph->node[at]->output[draw(m, graph->node[at]->n_output)];
    }
    return name != NULL ? name : "";
}

static void mutate_int(mutation *m, int64_t *number)
{
    *number = draw_int(m, *number);
}

static void mutate_tensor(mutation *m, Onnx__TensorProto *tensor)
{
    switch (draw(m, 6)) {
    case 0: /* the shape, with its number of elements kept where two axes change places */
        if (tensor->n_dims >= 2) {
            size_t i = draw(m, tensor->n_dims), j = draw(m, tensor->n_dims);
            int64_t kept = tensor->dims[i];
            tensor->dims[i] = tensor->dims[j];
            tensor->dims[j] = kept;
        }
        break;
    case 1: {
        size_t at = draw(m, tensor->n_dims + 1);
        INSERT(m, tensor->dims, tensor->n_dims, at, 1);
        break;
    }
    case 2:
        if (tensor->n_dims > 0) {
            mutate_int(m, &tensor->dims[draw(m, tensor->n_dims)]);
        }
        break;
    case 3: tensor->data_type = (int32_t)draw(m, 24); break;
    default:
        if (tensor->raw_data.len >= 8 && tensor->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64) {
            uint8_t *at = tensor->raw_data.data + 8 * draw(m, tensor->raw_data.len / 8);
            int64_t number;
            memcpy(&number, at, sizeof number);
            mutate_int(m, &number);
            memcpy(at, &number, sizeof number);
        } else if (tensor->raw_data.len > 0) {
            tensor->raw_data.data[draw(m, tensor->raw_data.len)] = (uint8_t)draw(m, 256);
        } else if (tensor->n_int64_data > 0) {
            mutate_int(m, &tensor->int64_data[draw(m, tensor->n_int64_data)]);
        }
    }
}

static void mutate_attribute(mutation *m, Onnx__AttributeProto *attribute)
{
    static const float floats[] = {0.0f, 1.0f, -1.0f, 1e-5f, 0.5f, 1e30f, -1e30f, __builtin_nanf(""), __builtin_inff()};
    if (attribute->t != NULL) {
        mutate_tensor(m, attribute->t);
    } else if (attribute->n_ints > 0) {
        size_t at = draw(m, attribute->n_ints);
        if (draw(m, 4) == 0) {
            INSERT(m, attribute->ints, attribute->n_ints, at, 0);
        }
        mutate_int(m, &attribute->ints[at]);
    } else if (attribute->has_f) {
        attribute->f = floats[draw(m, sizeof floats / sizeof *floats)];
    } else if (attribute->s.len > 0) { /* equations of Einsum, names of modes */
        attribute->s.data[draw(m, attribute->s.len)] = (uint8_t) "abijk.,->"[draw(m, 9)];
    } else {
        mutate_int(m, &attribute->i);
    }
}

static void mutate_node(mutation *m, Onnx__NodeProto *node)
{
    switch (draw(m, 8)) {
    case 0: node->op_type = (char *)(uintptr_t)draw_op(m); break;
    case 1: {
        size_t at = draw(m, node->n_input + 1);
        INSERT(m, node->input, node->n_input, at, draw_value(m));
        break;
    }
    case 2:
        if (node->n_input > 0) {
            node->n_input--;
        }
        break;
    case 3:
        if (node->n_attribute > 0) {
            node->attribute[draw(m, node->n_attribute)] = node->attribute[--node->n_attribute];
        }
        break;
    case 4:
    case 5:
        if (node->n_attribute > 0) {
            mutate_attribute(m, node->attribute[draw(m, node->n_attribute)]);
        }
        break;
    default:
        if (node->n_input > 0) {
            node->input[draw(m, node->n_input)] = draw_value(m);
        }
    }
}

static void mutate_input(mutation *m, const Onnx__ValueInfoProto *input)
{
    static char *const names[] = {"B", "N", "L"};
    if (input->type == NULL || input->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        return;
    }
    Onnx__TypeProto__Tensor *type = input->type->tensor_type;
    if (draw(m, 4) == 0 || type->shape == NULL || type->shape->n_dim == 0) {
        type->elem_type = (int32_t)draw(m, 24);
        return;
    }
    Onnx__TensorShapeProto__Dimension *dim = type->shape->dim[draw(m, 2) ? 0 : draw(m, type->shape->n_dim)];
    if (draw(m, 2) == 0) {
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        dim->dim_param = names[draw(m, sizeof names / sizeof *names)];
    } else {
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dim->dim_value = draw_int(m, 4);
    }
}

/* A copy of a node in front of another one, which reads it; or a new node behind one. */
static void add_node(mutation *m)
{
    Onnx__GraphProto *graph = m->graph;
    Onnx__NodeProto *node = base_arena_copy(&m->arena, graph->node[draw(m, graph->n_node)], sizeof *node);
    char **input = node != NULL ? base_arena_copy(&m->arena, node->input, node->n_input * sizeof *input) : NULL;
    char **output = BASE_NEW(&m->arena, char *);
    size_t at = draw(m, graph->n_node);
    if (input == NULL || output == NULL) {
        return;
    }
    *output = base_arena_format(&m->arena, "m%u", draw(m, 1000000));
    *node = (Onnx__NodeProto){.base = node->base,
                              .op_type = node->op_type,
                              .domain = node->domain,
                              .n_input = node->n_input,
                              .input = input,
                              .n_output = 1,
                              .output = output,
                              .n_attribute = node->n_attribute,
                              .attribute = node->attribute,
                              .name = *output};
    Onnx__NodeProto *reader = graph->node[at];
    if (reader->n_input > 0) {
        size_t read = draw(m, reader->n_input);
        if (node->n_input > 0 && draw(m, 2)) {
            input[draw(m, node->n_input)] = reader->input[read];
        }
        reader->input[read] = *output;
    }
    INSERT(m, graph->node, graph->n_node, at, node);
}

static void mutate_graph(mutation *m, Onnx__ModelProto *model)
{
    Onnx__GraphProto *graph = m->graph;
    uint32_t kind = draw(m, 16);
    if (kind == 0 && graph->n_output > 0) {
        graph->output[draw(m, graph->n_output)]->name = draw_value(m);
    } else if (kind == 1 && model->n_opset_import > 0) {
        model->opset_import[0]->version = 11 + draw(m, 18);
    } else if (kind == 2 && graph->n_node > 1) {
        size_t at = draw(m, graph->n_node--);
        memmove(&graph->node[at], &graph->node[at + 1], (graph->n_node - at) * sizeof *graph->node);
    } else if (kind <= 4 && graph->n_input > 0) {
        mutate_input(m, graph->input[draw(m, graph->n_input)]);
    } else if (kind <= 7 && graph->n_initializer > 0) {
        mutate_tensor(m, graph->initializer[draw(m, graph->n_initializer)]);
    } else if (kind <= 9 && graph->n_node > 0) {
        add_node(m);
    } else if (graph->n_node > 0) {
        mutate_node(m, graph->node[draw(m, graph->n_node)]);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    mutation m = {.state = seed};
    size_t packed = 0;
    m.allocator = (ProtobufCAllocator){allocate, release, &m.arena};
    Onnx__ModelProto *model = draw(&m, 4) == 0 ? NULL : unpack(&m, data, size);
    if (model != NULL && model->graph != NULL) {
        m.graph = model->graph;
        for (uint32_t i = 0, count = 1 + draw(&m, 3); i < count; i++) {
            mutate_graph(&m, model);
        }
        packed = pack(model, data, max_size);
    }
    base_arena_free(&m.arena);
    return packed > 0 ? packed : LLVMFuzzerMutate(data, size, max_size);
}

/* --- crossing ------------------------------------------------------------------------------------------------- */

static void rename_value(mutation *m, char **name)
{
    if (*name != NULL && **name != '\0') {
        char *fresh = base_arena_format(&m->arena, "%s'", *name);
        *name = fresh != NULL ? fresh : *name;
    }
}

static void append(mutation *m, void *list_place, size_t *count, void *more, size_t more_count)
{
    void **list = *(void ***)list_place;
    void **grown = BASE_NEW_ARRAY(&m->arena, void *, *count + more_count);
    if (grown != NULL) {
        if (*count > 0) {
            memcpy(grown, list, *count * sizeof *grown);
        }
        if (more_count > 0) {
            memcpy(grown + *count, more, more_count * sizeof *grown);
        }
        *(void ***)list_place = grown;
        *count += more_count;
    }
}

/* The nodes, inputs and initialisers of `other` behind those of the graph, its names changed, its first operands read
 * from the graph. */
static void join(mutation *m, Onnx__GraphProto *other)
{
    Onnx__GraphProto *graph = m->graph;
    for (size_t i = 0; i < other->n_node; i++) {
        Onnx__NodeProto *node = other->node[i];
        for (size_t j = 0; j < node->n_input; j++) {
            rename_value(m, &node->input[j]);
        }
        for (size_t j = 0; j < node->n_output; j++) {
            rename_value(m, &node->output[j]);
        }
        if (node->n_input > 0 && draw(m, 3) == 0) {
            node->input[draw(m, node->n_input)] = draw_value(m);
        }
    }
    for (size_t i = 0; i < other->n_input; i++) {
        rename_value(m, &other->input[i]->name);
    }
    for (size_t i = 0; i < other->n_output; i++) {
        rename_value(m, &other->output[i]->name);
    }
    for (size_t i = 0; i < other->n_initializer; i++) {
        rename_value(m, &other->initializer[i]->name);
    }
    append(m, &graph->node, &graph->n_node, other->node, other->n_node);
    append(m, &graph->input, &graph->n_input, other->input, other->n_input);
    append(m, &graph->output, &graph->n_output, other->output, other->n_output);
    append(m, &graph->initializer, &graph->n_initializer, other->initializer, other->n_initializer);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second, size_t second_size,
                                 uint8_t *out, size_t max_size, unsigned seed)
{
    mutation m = {.state = seed};
    size_t packed = 0;
    m.allocator = (ProtobufCAllocator){allocate, release, &m.arena};
    Onnx__ModelProto *model = unpack(&m, first, first_size), *other = unpack(&m, second, second_size);
    if (model != NULL && other != NULL && model->graph != NULL && other->graph != NULL) {
        m.graph = model->graph;
        join(&m, other->graph);
        packed = pack(model, out, max_size);
    }
    base_arena_free(&m.arena);
    return packed;
}
