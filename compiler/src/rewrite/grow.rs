//! The function that replaces `memory.grow` in a module with headroom.

use wasm_encoder::{BlockType, Encode, Function, InstructionSink, ValType};

/// Indices of the globals for virtual growth.
#[derive(Clone, Copy, Debug)]
pub(super) struct GrowthGlobals {
    /// Pages that the guest sees.
    pub(super) pages: u32,
    /// Most pages; the host lowers it to the function's memory limit.
    pub(super) limit: u32,
    /// Total pages that the last refused growth asked for; 0 if none was refused.
    pub(super) refused: u32,
}

/// Returns the body of `(func (param $delta i32) (result i32))`, including its size.
///
/// ```text
/// $wanted = $pages + $delta
/// if $wanted wraps around or exceeds $limit:        $refused = $wanted (or all ones); return -1
/// if $wanted exceeds memory.size:
///     if memory.grow($wanted - memory.size) is -1:  return -1
/// $old = $pages; $pages = $wanted; return $old
/// ```
pub(super) fn body(globals: GrowthGlobals) -> Vec<u8> {
    let GrowthGlobals {
        pages,
        limit,
        refused,
    } = globals;
    let (delta, wanted) = (0, 1);
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code: InstructionSink<'_> = function.instructions();
    code.global_get(pages)
        .local_get(delta)
        .i32_add()
        .local_tee(wanted)
        // A sum that is less than a summand has wrapped around.
        .local_get(delta)
        .i32_lt_u()
        .if_(BlockType::Empty)
        .i32_const(-1)
        .global_set(refused)
        .i32_const(-1)
        .return_()
        .end()
        .local_get(wanted)
        .global_get(limit)
        .i32_gt_u()
        .if_(BlockType::Empty)
        .local_get(wanted)
        .global_set(refused)
        .i32_const(-1)
        .return_()
        .end()
        .local_get(wanted)
        .memory_size(0)
        .i32_gt_u()
        .if_(BlockType::Empty)
        .local_get(wanted)
        .memory_size(0)
        .i32_sub()
        .memory_grow(0)
        .i32_const(-1)
        .i32_eq()
        .if_(BlockType::Empty)
        .i32_const(-1)
        .return_()
        .end()
        .end()
        .global_get(pages)
        .local_get(wanted)
        .global_set(pages)
        .end();
    let mut body = Vec::new();
    function.encode(&mut body);
    body
}
