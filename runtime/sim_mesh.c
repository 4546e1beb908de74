/* sim_mesh.c - routers and the words in them (F3, F4). A cycle decides all moves from the queues as
 * they stand; the commit carries them out. */
#include "runtime/sim.h"

void sim_mesh_init(struct sim *sim) {
    struct sim_mesh *mesh = &sim->mesh;
    uint32_t cols = sim->m->cols;
    for (unsigned from = 0; from < sim->pes; from++) {
        uint8_t *neighbour = mesh->router[from].neighbour;
        neighbour[SIM_W] = (uint8_t)(from - 1);
        neighbour[SIM_E] = (uint8_t)(from + 1);
        neighbour[SIM_N] = (uint8_t)(from - cols);
        neighbour[SIM_S] = (uint8_t)(from + cols);
        for (unsigned to = 0; to < sim->pes; to++) {
            unsigned x = from % cols, y = from / cols, tx = to % cols, ty = to / cols;
            mesh->route[from][to] = tx > x   ? SIM_E
                                    : tx < x ? SIM_W
                                    : ty > y ? SIM_S
                                    : ty < y ? SIM_N
                                             : SIM_LOCAL;
        }
    }
    mesh->word_count = sim->pes * (SIM_SIDES * sim->m->router_queue + sim->m->eject_queue + 1);
    mesh->words = bf_alloc(mesh->word_count * sizeof *mesh->words);
    mesh->free = bf_alloc(mesh->word_count * sizeof *mesh->free);
    sim_mesh_reset(sim);
}

void sim_mesh_reset(struct sim *sim) {
    struct sim_mesh *mesh = &sim->mesh;
    for (unsigned p = 0; p < sim->pes; p++) {
        struct sim_router *router = &mesh->router[p];
        memset(router->head, 0, sizeof router->head);
        memset(router->count, 0, sizeof router->count);
        memset(router->pointer, 0, sizeof router->pointer);
    }
    mesh->busy = 0;
    mesh->move_count = 0;
    mesh->free_count = mesh->word_count;
    for (uint32_t i = 0; i < mesh->word_count; i++)
        mesh->free[i] = (uint16_t)i;
}

void sim_mesh_release(struct sim *sim, uint16_t word) {
    sim->mesh.free[sim->mesh.free_count++] = word;
}

static struct sim_move *new_move(struct sim_mesh *mesh) {
    return &mesh->moves[mesh->move_count++];
}

struct sim_word *sim_mesh_inject(struct sim *sim, unsigned pe) {
    struct sim_mesh *mesh = &sim->mesh;
    uint16_t word = mesh->free[--mesh->free_count];
    *new_move(mesh) = (struct sim_move){.from = (uint8_t)pe, .input = SIM_SIDES, .word = word};
    return &mesh->words[word];
}

/* The input of the next router that a word leaving by an output enters. */
static unsigned opposite(unsigned side) {
    static const uint8_t other[SIM_SIDES] = {SIM_LOCAL, SIM_E, SIM_W, SIM_S, SIM_N};
    return other[side];
}

static bool has_room(const struct sim *sim, const struct sim_router *router, unsigned p,
                     unsigned output) {
    if (output == SIM_LOCAL)
        return sim->pe[p].eject_count < sim->eject_depth;
    const struct sim_router *next = &sim->mesh.router[router->neighbour[output]];
    return next->count[opposite(output)] < sim->router_depth;
}

static void decide(struct sim *sim, unsigned p) {
    struct sim_mesh *mesh = &sim->mesh;
    struct sim_router *router = &mesh->router[p];
    uint8_t wants[SIM_SIDES] = {0}; /* inputs whose head wants the output */
    for (unsigned i = 0; i < SIM_SIDES; i++)
        if (router->count[i])
            wants[mesh->route[p][mesh->words[router->queue[i][router->head[i]]].to]] |=
                (uint8_t)(1u << i);
    for (unsigned o = 0; o < SIM_SIDES; o++) {
        if (!wants[o] || !has_room(sim, router, p, o))
            continue;
        unsigned i = router->pointer[o];
        while (!(wants[o] >> i & 1))
            i = i + 1 < SIM_SIDES ? i + 1 : 0;
        router->pointer[o] = (uint8_t)(i + 1 < SIM_SIDES ? i + 1 : 0);
        *new_move(mesh) =
            (struct sim_move){.from = (uint8_t)p,
                              .input = (uint8_t)i,
                              .to = o == SIM_LOCAL ? (uint8_t)p : router->neighbour[o],
                              .side = (uint8_t)opposite(o),
                              .word = router->queue[i][router->head[i]]};
        sim->ks->hops += o != SIM_LOCAL;
    }
}

void sim_mesh_cycle(struct sim *sim) {
    for (uint64_t left = sim->mesh.busy; left; left &= left - 1)
        decide(sim, (unsigned)__builtin_ctzll(left));
}

static void push(struct sim_router *router, unsigned side, uint16_t word) {
    router->queue[side][(router->head[side] + router->count[side]++) % SIM_QUEUE] = word;
}

static void eject_push(struct sim *sim, struct sim_pe *pe, uint16_t word) {
    (void)sim;
    pe->eject[(pe->eject_head + pe->eject_count++) % SIM_QUEUE] = word;
    pe->active |= SIM_EJECT;
}

static void carry_out(struct sim *sim, const struct sim_move *move) {
    struct sim_mesh *mesh = &sim->mesh;
    struct sim_router *from = &mesh->router[move->from];
    if (move->input == SIM_SIDES) {
        push(from, SIM_LOCAL, move->word);
        mesh->busy |= UINT64_C(1) << move->from;
        return;
    }
    from->head[move->input] = (uint8_t)((from->head[move->input] + 1) % SIM_QUEUE);
    from->count[move->input]--;
    if (move->side == SIM_LOCAL) {
        eject_push(sim, &sim->pe[move->to], move->word);
    } else {
        push(&mesh->router[move->to], move->side, move->word);
        mesh->busy |= UINT64_C(1) << move->to;
    }
}

void sim_mesh_commit(struct sim *sim) {
    struct sim_mesh *mesh = &sim->mesh;
    for (uint32_t i = 0; i < mesh->move_count; i++)
        carry_out(sim, &mesh->moves[i]);
    mesh->move_count = 0;
    for (uint64_t left = mesh->busy; left; left &= left - 1) {
        unsigned p = (unsigned)__builtin_ctzll(left);
        const uint8_t *count = mesh->router[p].count;
        if (!(count[0] | count[1] | count[2] | count[3] | count[4]))
            mesh->busy &= ~(UINT64_C(1) << p);
    }
}
