//! A function's code, cut into regions: each runs from its start to its end or not at all, except for traps.

use std::ops::Range;

use super::steps::{Last, Step, Steps};

/// Units of a region, those of its callees included, after which the next step begins another one.
const REGION_MAX: u64 = 8 << 10;

/// Units after which code looks at the fuel again, before a region that would exceed them.
pub(super) const BETWEEN_LOOKS: u64 = 16 << 10;

/// Units that are taken to have run since the last look when a call returns that may have led back to the same
/// function, so that at most 512 more run until the next.
///
/// Calls that are nested as deep as the stack allows and return one after the other may each run so
/// many units without a look: some 8 million in all (512 KiB of stack, 32 bytes a frame), two or three
/// milliseconds.
const AFTER_NESTED_CALL: u64 = BETWEEN_LOOKS - 512;

/// Units for entering a function, besides its instructions.
pub(super) const ENTRY: u64 = 1;

/// Cost of a function, or of all that a reference may lead to, for those that call it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Callee {
    /// Units that the caller pays, besides the call itself.
    pub(super) paid: u64,
    /// Most further units that may run in it until it looks at the fuel, or returns without a look.
    pub(super) inside: u64,
    /// Most units that may run in it from its last look to its return.
    pub(super) after: u64,
    /// True if it may call its caller again.
    pub(super) nests: bool,
}

/// A region of code.
#[derive(Debug)]
pub(super) struct Region {
    /// Offset of its first instruction in the source.
    pub(super) at: usize,
    /// Units of its instructions, and of the callees that it pays for.
    pub(super) units: u64,
    /// Units that callees pay for themselves without a look at the fuel.
    pub(super) inside: u64,
    /// Most units that may have run since a look when the call returns that is its last instruction; 0 if there is
    /// no such call, or nothing in it looks.
    pub(super) after_look: u64,
    /// True if that call may have led back to this function.
    pub(super) nests: bool,
    /// A region that always runs before this one, and after which it runs at most once; `None` for the
    /// function's first.
    pub(super) after: Option<usize>,
    /// True if a loop begins here.
    pub(super) head: bool,
    /// True if the function may return where it ends.
    pub(super) returns: bool,
    /// True if it always runs after the region `after`, unless the guest traps.
    pub(super) certain: bool,
    /// The innermost loop that it is in.
    pub(super) inside_loop: Option<usize>,
    /// The innermost block that it is in.
    pub(super) block: usize,
    /// Its part of [`Code::edges`].
    edges: Range<usize>,
}

impl Region {
    /// Returns the units that it takes, those of its callees included.
    pub(super) fn all_units(&self) -> u64 {
        self.units.saturating_add(self.inside)
    }

    /// Returns the units that are taken to have run since a look when the call returns that is its last
    /// instruction; 0 if there is no such call, or nothing in it looks.
    pub(super) fn returned(&self) -> u64 {
        if self.nests {
            AFTER_NESTED_CALL
        } else {
            self.after_look
        }
    }
}

/// A loop that may run.
#[derive(Debug)]
pub(super) struct Loop {
    /// Its first region.
    pub(super) head: usize,
    /// The region after its last one.
    pub(super) end: usize,
    pub(super) parent: Option<usize>,
    /// Regions that lead back to its head.
    pub(super) backs: Vec<usize>,
}

/// The place that all paths through a block lead to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Block {
    /// Round or out of this loop.
    Loop(usize),
    /// To this region, which follows the block.
    End(usize),
    /// The place of the block around it, which is this one.
    Within(usize),
    /// Out of the function.
    Out,
}

/// A function's regions, in the order of the code, and the ways between them.
///
/// Ways lead forwards in this order, but for those to the heads of loops, which [`Loop::backs`] has.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) regions: Vec<Region>,
    pub(super) loops: Vec<Loop>,
    pub(super) blocks: Vec<Block>,
    /// The regions that lead to each one, in its order.
    edges: Vec<usize>,
}

impl Code {
    /// Cuts a function; `callee` returns the cost of what a step calls.
    pub(super) fn cut(steps: &Steps<'_>, callee: impl Fn(Last) -> Callee) -> Self {
        let mut cutter = Cutter::default();
        cutter.open(Kind::Block, Block::Out);
        let entry = cutter.begin(steps.start, None, []);
        cutter.code.regions[entry].units = ENTRY;
        cutter.now = Some(entry);
        cutter.last().opened = Some(entry);
        for step in &steps.list {
            cutter.read(step, steps, callee(step.last));
        }
        cutter.code
    }

    /// Returns the regions that lead forwards to this one.
    pub(super) fn before(&self, region: usize) -> &[usize] {
        &self.edges[self.regions[region].edges.clone()]
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
    If,
}

/// An open block.
struct Frame {
    kind: Kind,
    /// Its place in [`Code::blocks`].
    block: usize,
    /// The region in which it was opened; `None` if that never runs.
    opened: Option<usize>,
    /// The region that leads to its end if its condition does not hold, until there is an `else`.
    skips: Option<usize>,
    /// Regions that branch to its end.
    from: Vec<usize>,
    /// The outermost frame that branches from inside lead to, as a place in the stack of frames.
    reach: usize,
}

/// Reads a function's code.
#[derive(Default)]
struct Cutter {
    code: Code,
    frames: Vec<Frame>,
    /// The region that runs; `None` in code that never does.
    now: Option<usize>,
    /// The innermost loop.
    inside_loop: Option<usize>,
}

impl Cutter {
    fn last(&mut self) -> &mut Frame {
        self.frames
            .last_mut()
            .expect("a frame is open until the end of a valid body")
    }

    fn open(&mut self, kind: Kind, block: Block) {
        self.code.blocks.push(block);
        self.frames.push(Frame {
            kind,
            block: self.code.blocks.len() - 1,
            opened: self.now,
            skips: None,
            from: Vec::new(),
            reach: usize::MAX,
        });
    }

    /// Begins a region that `before` lead to.
    fn begin(
        &mut self,
        at: usize,
        after: Option<usize>,
        before: impl IntoIterator<Item = usize>,
    ) -> usize {
        let start = self.code.edges.len();
        self.code.edges.extend(before);
        self.code.regions.push(Region {
            at,
            units: 0,
            inside: 0,
            after_look: 0,
            nests: false,
            after,
            head: false,
            returns: false,
            certain: false,
            inside_loop: self.inside_loop,
            block: self.frames.last().map_or(0, |frame| frame.block),
            edges: start..self.code.edges.len(),
        });
        self.code.regions.len() - 1
    }

    /// Begins a region that runs on from the present one, if that runs.
    fn go_on(&mut self, at: usize) {
        self.now = self.now.map(|now| self.begin(at, Some(now), [now]));
    }

    fn branch(&mut self, depth: u32) {
        let at = self.frames.len().checked_sub(1 + depth as usize);
        let (Some(now), Some(at)) = (self.now, at) else {
            return;
        };
        let last = self.last();
        last.reach = last.reach.min(at);
        let frame = &mut self.frames[at];
        let from = match self.code.blocks[frame.block] {
            Block::Loop(number) => &mut self.code.loops[number].backs,
            _ => &mut frame.from,
        };
        // A table may name the same target many times.
        if from.last() != Some(&now) {
            from.push(now);
        }
    }

    fn read(&mut self, step: &Step, steps: &Steps<'_>, callee: Callee) {
        let next = step.next;
        if let Some(now) = self.now {
            let Callee {
                paid,
                inside,
                after,
                nests,
            } = callee;
            let region = &mut self.code.regions[now];
            let units = paid.saturating_add(u64::from(step.units));
            region.units = region.units.saturating_add(units);
            region.inside = region.inside.saturating_add(inside);
            region.after_look = after;
            region.nests = nests;
        }
        let within = Block::Within(self.frames.last().map_or(0, |frame| frame.block));
        match step.last {
            Last::Block => self.open(Kind::Block, within),
            Last::Loop => self.open_loop(next, within),
            Last::If => {
                self.open(Kind::If, within);
                self.last().skips = self.now;
                self.go_on(next);
            }
            Last::Else => {
                let now = self.now;
                let frame = self.last();
                frame.from.extend(now);
                self.now = frame.skips.take();
                self.go_on(next);
            }
            Last::End => self.close(next),
            Last::Branch(depth) => {
                self.branch(depth);
                self.now = None;
            }
            Last::BranchTable { from, to } => {
                for &depth in steps.depths(from, to) {
                    self.branch(depth);
                }
                self.now = None;
            }
            Last::BranchIf(depth) => {
                self.branch(depth);
                self.go_on(next);
            }
            Last::Return => {
                if let Some(now) = self.now.take() {
                    self.code.regions[now].returns = true;
                    self.last().reach = 0;
                }
            }
            Last::Unreachable => self.now = None,
            Last::Plain | Last::Call(_) | Last::CallReference(_) => {}
        }
        let is_over = |region: &Region| region.returned() > 0 || region.all_units() > REGION_MAX;
        let now = self.now.map(|now| &self.code.regions[now]);
        if now.is_some_and(is_over) && !self.frames.is_empty() {
            self.go_on(next);
            if let Some(now) = self.now {
                self.code.regions[now].certain = true;
            }
        }
    }

    fn open_loop(&mut self, next: usize, within: Block) {
        let Some(now) = self.now else {
            self.open(Kind::Loop, within);
            return;
        };
        let number = self.code.loops.len();
        self.open(Kind::Loop, Block::Loop(number));
        let parent = self.inside_loop.replace(number);
        let head = self.begin(next, Some(now), [now]);
        self.code.regions[head].head = true;
        self.code.loops.push(Loop {
            head,
            end: head,
            parent,
            backs: Vec::new(),
        });
        self.now = Some(head);
    }

    fn close(&mut self, next: usize) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        if self.frames.is_empty() {
            // The end of the function: nothing runs after it.
            for region in frame.from.into_iter().chain(self.now.take()) {
                self.code.regions[region].returns = true;
            }
        } else {
            self.end(frame, next);
        }
    }

    /// Ends a block, and begins the region after it unless nothing but the last region inside leads there.
    fn end(&mut self, frame: Frame, next: usize) {
        // A branch out of this block leads out of those around it, too, up to its target.
        let escapes = frame.reach < self.frames.len();
        if let Some(around) = self.frames.last_mut()
            && escapes
        {
            around.reach = around.reach.min(frame.reach);
        }
        if let Block::Loop(number) = self.code.blocks[frame.block] {
            let closed = &mut self.code.loops[number];
            closed.end = self.code.regions.len();
            self.inside_loop = closed.parent;
        }
        if frame.kind == Kind::Block && frame.from.is_empty() {
            return;
        }
        let before = frame.from.into_iter().chain(frame.skips).chain(self.now);
        let before: Vec<usize> = before.collect();
        if before.is_empty() {
            self.now = None;
            return;
        }
        let end = self.begin(next, frame.opened, before);
        self.code.regions[end].certain = !escapes;
        if frame.kind != Kind::Loop && !escapes {
            self.code.blocks[frame.block] = Block::End(end);
        }
        self.now = Some(end);
    }
}
