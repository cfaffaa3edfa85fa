//! Reads the pickles that `torch.save` writes, without ever running anything.
//!
//! A pickle is a program for a small stack machine, and Python's own reader calls whatever function the program names. This
//! reader knows the few names that a state dict needs ([`Global`]) and builds its own values for them. Any other name is an
//! error that says which. Opcodes are those of `pickletools` for protocols 0 to 5, as far as `torch.save` uses them.
//!
//! Lists, tuples and dicts lie in an arena, and values hold their places there. So a container can be filled after the memo
//! has it, a cycle is harmless, and nothing is copied or dropped recursively. Every operation is at least a byte of a program
//! whose length is limited, and adds at most one value, so memory is limited, too.

use std::collections::HashMap;
use std::rc::Rc;

/// The longest program that is read. A state dict takes about 150 bytes per tensor.
pub(super) const MOST_BYTES: u64 = 16 << 20;

/// The most dimensions of a tensor: more than any layer's weights have.
const MOST_DIMENSIONS: usize = 8;

/// A value of the program.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Text(Rc<str>),
    Bytes,
    /// The places of lists, tuples and dicts in the arena.
    Sequence(usize),
    Dict(usize),
    Global(Global),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
    /// A value that says nothing about weights, such as a device.
    Other,
}

/// A name that a state dict needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Device,
    /// The type of a storage's elements.
    Storage(Element),
    /// A data type by itself.
    DataType,
}

/// A type of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    /// No weights are stored in it.
    Other {
        bytes: usize,
    },
}

/// Numbers in a file of their own in the archive.
#[derive(Debug)]
pub(super) struct Storage {
    pub element: Element,
    /// The name of the file.
    pub key: Rc<str>,
    pub count: u64,
}

/// A view of a storage.
#[derive(Debug)]
pub(super) struct Tensor {
    pub storage: Rc<Storage>,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// What a program has built.
#[derive(Debug)]
pub(super) struct Pickle {
    sequences: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    pub value: Value,
}

/// What is wrong with a pickle, and what to do.
pub(super) type Problem = (String, &'static str);

const DAMAGED: &str = "the file is damaged or cut off: save or copy it again";
const STATE_DICT: &str = "save only the weights: torch.save(model.state_dict(), \"weights.pt\")";

impl Global {
    fn named(module: &str, name: &str) -> Option<Self> {
        use Element::{Bf16, F16, F32, F64, Other};
        let storage = |element| Some(Self::Storage(element));
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", "Size") => Some(Self::Size),
            ("torch", "device") => Some(Self::Device),
            ("torch", "DoubleStorage") => storage(F64),
            ("torch", "FloatStorage") => storage(F32),
            ("torch", "HalfStorage") => storage(F16),
            ("torch", "BFloat16Storage") => storage(Bf16),
            ("torch", "LongStorage") => storage(Other { bytes: 8 }),
            ("torch", "IntStorage") => storage(Other { bytes: 4 }),
            ("torch", "ShortStorage") => storage(Other { bytes: 2 }),
            ("torch", "CharStorage" | "ByteStorage" | "BoolStorage") => storage(Other { bytes: 1 }),
            (
                "torch",
                "float16" | "float32" | "float64" | "bfloat16" | "int8" | "int16" | "int32" | "int64" | "uint8"
                | "bool",
            ) => Some(Self::DataType),
            _ => None,
        }
    }
}

impl Pickle {
    /// Runs a program.
    pub fn read(program: &[u8]) -> Result<Self, Problem> {
        let mut machine = Machine {
            rest: program,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            pickle: Self { sequences: Vec::new(), dicts: Vec::new(), value: Value::None },
        };
        loop {
            let code = machine.byte()?;
            if code == b'.' {
                machine.pickle.value = machine.pop()?;
                return Ok(machine.pickle);
            }
            machine.step(code)?;
        }
    }

    /// The entries of a dict whose keys are texts.
    pub fn entries(&self, value: &Value) -> Option<Vec<(Rc<str>, Value)>> {
        let Value::Dict(place) = value else { return None };
        let of = |(key, value): &(Value, Value)| match key {
            Value::Text(key) => Some((Rc::clone(key), value.clone())),
            _ => None,
        };
        Some(self.dicts[*place].iter().filter_map(of).collect())
    }

    fn list(&mut self, values: Vec<Value>) -> Value {
        self.sequences.push(values);
        Value::Sequence(self.sequences.len() - 1)
    }

    fn dict(&mut self, entries: Vec<(Value, Value)>) -> Value {
        self.dicts.push(entries);
        Value::Dict(self.dicts.len() - 1)
    }

    fn sequence(&self, value: &Value) -> Result<&[Value], Problem> {
        let Value::Sequence(place) = value else { return Err(unexpected("a tuple", value)) };
        Ok(&self.sequences[*place])
    }
}

fn unexpected(wanted: &str, found: &Value) -> Problem {
    let found = match found {
        Value::None => "nothing",
        Value::Bool => "a truth value",
        Value::Int(_) | Value::Float => "a number",
        Value::Text(_) | Value::Bytes => "a text",
        Value::Sequence(_) => "a list",
        Value::Dict(_) => "a dict",
        Value::Global(_) | Value::Other => "something else",
        Value::Storage(_) => "a storage",
        Value::Tensor(_) => "a tensor",
    };
    (format!("the pickle has {found} where {wanted} should be"), DAMAGED)
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    pickle: Pickle,
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(("the pickle is cut off".into(), DAMAGED));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned number of so many bytes, at most 8.
    fn number(&mut self, bytes: usize) -> Result<u64, Problem> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// As many bytes as a length before them says.
    fn counted(&mut self, bytes: usize) -> Result<&'a [u8], Problem> {
        let count = self.number(bytes)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn text(&mut self, bytes: usize) -> Result<Value, Problem> {
        let text = std::str::from_utf8(self.counted(bytes)?);
        text.map(|text| Value::Text(text.into())).map_err(|_| ("a text of the pickle is not UTF-8".into(), DAMAGED))
    }

    /// The rest of a line.
    fn line(&mut self) -> Result<&'a str, Problem> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.unwrap_or(usize::MAX))?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| ("a name of the pickle is not UTF-8".into(), DAMAGED))
    }

    fn pop(&mut self) -> Result<Value, Problem> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= bottom {
            return Err(("the pickle takes more values than it made".into(), DAMAGED));
        }
        self.stack.pop().ok_or_else(|| ("the pickle is empty".into(), DAMAGED))
    }

    /// The value on top of the stack.
    fn top(&self) -> Result<&Value, Problem> {
        self.stack.last().ok_or_else(|| ("the pickle takes more values than it made".into(), DAMAGED))
    }

    /// All values above the last mark.
    fn marked(&mut self) -> Result<Vec<Value>, Problem> {
        let Some(mark) = self.marks.pop() else { return Err(("the pickle lacks a mark".into(), DAMAGED)) };
        Ok(self.stack.split_off(mark))
    }

    fn several(&mut self, count: usize) -> Result<Vec<Value>, Problem> {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.pop()?);
        }
        values.reverse();
        Ok(values)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    /// The value that an operation stands for, if it stands for one.
    fn literal(&mut self, code: u8) -> Result<Option<Value>, Problem> {
        Ok(Some(match code {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool,
            b'J' => Value::Int((self.number(4)? as u32 as i32).into()),
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            0x8a => long(self.counted(1)?)?,
            b'G' => {
                self.take(8)?;
                Value::Float
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'B' | b'T' => {
                self.counted(4)?;
                Value::Bytes
            }
            b'C' | b'U' => {
                self.counted(1)?;
                Value::Bytes
            }
            _ => return Ok(None),
        }))
    }

    fn step(&mut self, code: u8) -> Result<(), Problem> {
        if let Some(value) = self.literal(code)? {
            self.push(value);
            return Ok(());
        }
        match code {
            // What tells of the program itself.
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b'2' => self.push(self.top()?.clone()),
            b']' | b')' => {
                let list = self.pickle.list(Vec::new());
                self.push(list);
            }
            b'}' => {
                let dict = self.pickle.dict(Vec::new());
                self.push(dict);
            }
            0x85..=0x87 => {
                let values = self.several(usize::from(code - 0x84))?;
                let tuple = self.pickle.list(values);
                self.push(tuple);
            }
            b't' | b'l' => {
                let values = self.marked()?;
                let tuple = self.pickle.list(values);
                self.push(tuple);
            }
            b'd' => {
                let entries = pairs(self.marked()?)?;
                let dict = self.pickle.dict(entries);
                self.push(dict);
            }
            b'a' | b'e' => {
                let values = if code == b'a' { vec![self.pop()?] } else { self.marked()? };
                let &Value::Sequence(place) = self.top()? else { return Err(unexpected("a list", self.top()?)) };
                self.pickle.sequences[place].extend(values);
            }
            b's' | b'u' => {
                let entries = pairs(if code == b's' { self.several(2)? } else { self.marked()? })?;
                let &Value::Dict(place) = self.top()? else { return Err(unexpected("a dict", self.top()?)) };
                self.pickle.dicts[place].extend(entries);
            }
            b'q' | b'r' | 0x94 => {
                let place = match code {
                    b'q' => self.number(1)? as u32,
                    b'r' => self.number(4)? as u32,
                    _ => self.memo.len() as u32,
                };
                let value = self.top()?.clone();
                self.memo.insert(place, value);
            }
            b'h' | b'j' => {
                let place = self.number(if code == b'h' { 1 } else { 4 })? as u32;
                let Some(value) = self.memo.get(&place).cloned() else {
                    return Err((format!("the pickle has no value {place}"), DAMAGED));
                };
                self.push(value);
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(name), Value::Text(module)) = (&name, &module) else {
                    return Err(unexpected("a name", &name));
                };
                self.global(module, name)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = storage(self.pickle.sequence(&id)?)?;
                self.push(Value::Storage(Rc::new(storage)));
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let Value::Global(callee) = callee else { return Err(unexpected("a name", &callee)) };
                let made = self.call(callee, &arguments)?;
                self.push(made);
            }
            b'b' => {
                // State dicts carry the versions of their modules as an attribute.
                self.pop()?;
                if !matches!(self.top()?, Value::Dict(_)) {
                    return Err(("the pickle sets attributes of an object".into(), STATE_DICT));
                }
            }
            _ => {
                let problem = format!("the pickle has the operation 0x{code:02x}, which no state dict needs");
                return Err((problem, STATE_DICT));
            }
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        let Some(global) = Global::named(module, name) else {
            let problem = format!(
                "the pickle wants to use {module:.80}.{name:.80}, which is not needed for weights, and could run code"
            );
            return Err((problem, STATE_DICT));
        };
        self.push(Value::Global(global));
        Ok(())
    }

    /// What a call makes that a state dict needs.
    fn call(&mut self, callee: Global, arguments: &Value) -> Result<Value, Problem> {
        let given = self.pickle.sequence(arguments)?;
        match (callee, given) {
            (Global::OrderedDict, []) => Ok(self.pickle.dict(Vec::new())),
            (Global::RebuildTensor, [Value::Storage(storage), Value::Int(offset), shape, strides, ..]) => {
                let numbers = |value: &Value| -> Result<Vec<u64>, Problem> {
                    let number = |value: &Value| match value {
                        &Value::Int(number) => u64::try_from(number).map_err(|_| unexpected("a size", value)),
                        _ => Err(unexpected("a size", value)),
                    };
                    let values = self.pickle.sequence(value)?;
                    if values.len() > MOST_DIMENSIONS {
                        return Err((format!("a tensor has {} dimensions", values.len()), DAMAGED));
                    }
                    values.iter().map(number).collect()
                };
                let offset = u64::try_from(*offset).map_err(|_| ("a tensor begins below 0".to_string(), DAMAGED))?;
                let (shape, strides) = (numbers(shape)?, numbers(strides)?);
                Ok(Value::Tensor(Rc::new(Tensor { storage: Rc::clone(storage), offset, shape, strides })))
            }
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => Ok(tensor.clone()),
            (Global::Size, [sizes]) => Ok(sizes.clone()),
            (Global::Device, _) => Ok(Value::Other),
            _ => Err((format!("the pickle calls {callee:?} with arguments that it does not take"), DAMAGED)),
        }
    }
}

/// The storage that a persistent id names: ("storage", type, name of the file, device, elements).
fn storage(id: &[Value]) -> Result<Storage, Problem> {
    match id {
        [Value::Text(kind), Value::Global(Global::Storage(element)), Value::Text(key), _, Value::Int(count), ..]
            if &**kind == "storage" =>
        {
            let count =
                u64::try_from(*count).map_err(|_| ("a storage has fewer than 0 numbers".to_string(), DAMAGED))?;
            Ok(Storage { element: *element, key: Rc::clone(key), count })
        }
        _ => Err(("the pickle names a storage in a way that is not known".into(), STATE_DICT)),
    }
}

/// Keys and values, which follow each other.
fn pairs(values: Vec<Value>) -> Result<Vec<(Value, Value)>, Problem> {
    if !values.len().is_multiple_of(2) {
        return Err(("a dict of the pickle has a key without a value".into(), DAMAGED));
    }
    let mut values = values.into_iter();
    Ok(std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect())
}

/// A number of any length.
fn long(bytes: &[u8]) -> Result<Value, Problem> {
    if bytes.len() > 8 {
        return Err(("a number of the pickle is too large".into(), DAMAGED));
    }
    let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut all = [if negative { 0xff } else { 0 }; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    Ok(Value::Int(i64::from_le_bytes(all)))
}
