#include "compiler/write.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { MOST_PLANS = 8 };

static mtl_status write_beside(const char *path, const compiler_lowered *plan, base_diag *diag, base_output **output)
{
    struct stat there;
    BASE_TRY(base_output_open(path, diag, output));
    if (stat(path, &there) == 0 && S_ISDIR(there.st_mode)) { /* known before another plan is in its place */
        return base_fail(diag, MTL_IO, "%s: %s", path, strerror(EISDIR));
    }
    return base_output_write(*output, plan->plan, plan->plan_size);
}

mtl_status compiler_write_plans(const char *const *paths, const compiler_lowered *plans, size_t count, base_diag *diag)
{
    base_output *outputs[MOST_PLANS] = {NULL};
    mtl_status status = count <= MOST_PLANS ? MTL_OK : base_fail(diag, MTL_INTERNAL, "too many plans at once");
    size_t done = 0;
    for (size_t i = 0; i < count && status == MTL_OK; i++) {
        status = write_beside(paths[i], &plans[i], diag, &outputs[i]);
    }
    while (status == MTL_OK && done < count) {
        status = base_output_commit(outputs[done]);
        outputs[done] = NULL;
        done += status == MTL_OK;
    }
    for (size_t i = 0; i < count && status != MTL_OK; i++) {
        if (i < done) {
            unlink(paths[i]);
        }
        base_output_discard(i < MOST_PLANS ? outputs[i] : NULL);
    }
    return status;
}
