//! A reader of the pickles in which PyTorch wrote its checkpoints. It executes nothing: a pickle
//! is a list of instructions, and only those that build plain values and tensors are known here;
//! any other function that a file asks for is an error. The containers (zip, the older stream)
//! are in `pytorch`.

use std::collections::BTreeMap;

use crate::model::error::{ModelError, Result};

/// The functions and classes that a checkpoint needs; everything else is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
}

/// The element types of storages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    pub fn bytes(self) -> usize {
        match self {
            Element::F64 | Element::I64 => 8,
            Element::F32 | Element::I32 => 4,
            Element::F16 | Element::BF16 | Element::I16 => 2,
            Element::I8 | Element::U8 | Element::Bool => 1,
        }
    }
}

const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch", "Size", Global::Size),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch", "DoubleStorage", Global::Storage(Element::F64)),
    ("torch", "FloatStorage", Global::Storage(Element::F32)),
    ("torch", "HalfStorage", Global::Storage(Element::F16)),
    ("torch", "BFloat16Storage", Global::Storage(Element::BF16)),
    ("torch", "LongStorage", Global::Storage(Element::I64)),
    ("torch", "IntStorage", Global::Storage(Element::I32)),
    ("torch", "ShortStorage", Global::Storage(Element::I16)),
    ("torch", "CharStorage", Global::Storage(Element::I8)),
    ("torch", "ByteStorage", Global::Storage(Element::U8)),
    ("torch", "BoolStorage", Global::Storage(Element::Bool)),
];

/// A storage named by a pickle: its bytes lie elsewhere in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRef {
    pub key: String,
    pub element: Element,
    pub elements: usize,
}

/// A tensor: a view of a storage, all numbers in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRef {
    pub storage: StorageRef,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

/// A number of an object in the arena: pickles share and change objects through references.
pub type Id = usize;

#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    None,
    Bool(bool),
    Int(i64),
    /// An integer that does not fit 64 bits, as its little-endian bytes.
    Long(Vec<u8>),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(StorageRef),
    Tensor(TensorRef),
}

/// One pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    objects: Vec<Object>,
    pub root: Id,
    /// Bytes that the pickle took of the input.
    pub length: usize,
}

impl Pickle {
    pub fn root(&self) -> &Object {
        self.get(self.root)
    }

    pub fn get(&self, id: Id) -> &Object {
        self.objects.get(id).unwrap_or(&Object::None)
    }

    /// The entries of a dictionary whose keys are texts, in their order; others are left out.
    pub fn entries(&self, object: &Object) -> Vec<(String, Id)> {
        let Object::Dict(entries) = object else { return Vec::new() };
        entries
            .iter()
            .filter_map(|(key, value)| match self.get(*key) {
                Object::Text(key) => Some((key.clone(), *value)),
                _ => None,
            })
            .collect()
    }

    /// Reads the pickle at the start of `input`.
    pub fn read(input: &[u8]) -> Result<Self> {
        let mut machine = Machine { input, at: 0, ..Machine::default() };
        let root = machine.run().map_err(|problem| {
            ModelError::new(format!("byte {}: {problem}", machine.at.saturating_sub(1)))
        })?;
        Ok(Pickle { root, length: machine.at, objects: machine.objects })
    }
}

#[derive(Default)]
struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    objects: Vec<Object>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Id>,
}

type Step<T> = std::result::Result<T, String>;

impl Machine<'_> {
    fn run(&mut self) -> Step<Id> {
        loop {
            let code = self.byte()?;
            match code {
                b'.' => return self.pop(),
                0x80 => {
                    let protocol = self.byte()?;
                    if protocol > 5 {
                        return Err(format!("a pickle of the unknown protocol {protocol}"));
                    }
                }
                0x95 => drop(self.take(8)?),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                b'N' => self.push(Object::None),
                0x88 => self.push(Object::Bool(true)),
                0x89 => self.push(Object::Bool(false)),
                b'K' => {
                    let number = self.byte()?;
                    self.push(Object::Int(i64::from(number)));
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.array()?);
                    self.push(Object::Int(i64::from(number)));
                }
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.push(Object::Int(i64::from(number)));
                }
                b'I' | b'L' => {
                    let line = self.line()?;
                    self.push(decimal(&line)?);
                }
                0x8a => {
                    let length = usize::from(self.byte()?);
                    let bytes = self.take(length)?.to_vec();
                    self.push(long(bytes));
                }
                0x8b => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    let bytes = self.take(length)?.to_vec();
                    self.push(long(bytes));
                }
                b'G' => {
                    let number = f64::from_be_bytes(self.array()?);
                    self.push(Object::Float(number));
                }
                b'X' | b'T' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    self.text(length)?;
                }
                0x8c | b'U' => {
                    let length = usize::from(self.byte()?);
                    self.text(length)?;
                }
                0x8d => {
                    let length = self.length8()?;
                    self.text(length)?;
                }
                b'B' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    let bytes = self.take(length)?.to_vec();
                    self.push(Object::Bytes(bytes));
                }
                b'C' => {
                    let length = usize::from(self.byte()?);
                    let bytes = self.take(length)?.to_vec();
                    self.push(Object::Bytes(bytes));
                }
                b')' => self.push(Object::Tuple(Vec::new())),
                b']' => self.push(Object::List(Vec::new())),
                b'}' => self.push(Object::Dict(Vec::new())),
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Object::Tuple(items));
                }
                0x85..=0x87 => {
                    let items = self.pop_last(usize::from(code - 0x84))?;
                    self.push(Object::Tuple(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let items = self.pop_last(2)?;
                    self.set_items(&items)?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }
                b'q' => {
                    let key = u64::from(self.byte()?);
                    self.remember(key)?;
                }
                b'r' => {
                    let key = u64::from(u32::from_le_bytes(self.array()?));
                    self.remember(key)?;
                }
                0x94 => {
                    let key = self.memo.len() as u64;
                    self.remember(key)?;
                }
                b'h' => {
                    let key = u64::from(self.byte()?);
                    self.recall(key)?;
                }
                b'j' => {
                    let key = u64::from(u32::from_le_bytes(self.array()?));
                    self.recall(key)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.global(&module, &name)?;
                }
                0x93 => {
                    let names = self.pop_last(2)?;
                    match (self.object(names.first())?, self.object(names.get(1))?) {
                        (Object::Text(module), Object::Text(name)) => {
                            let (module, name) = (module.clone(), name.clone());
                            self.global(&module, &name)?;
                        }
                        _ => return Err("a name that is not a text".to_string()),
                    }
                }
                b'R' | 0x81 => {
                    let items = self.pop_last(2)?;
                    self.call(&items)?;
                }
                b'b' => {
                    // Only the `_metadata` that PyTorch hangs on its dictionaries: not needed.
                    self.pop()?;
                    let top = self.top()?;
                    if !matches!(self.object(Some(&top))?, Object::Dict(_)) {
                        return Err("an object with a state of its own".to_string());
                    }
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(Object::Storage(storage));
                }
                other => return Err(format!("the instruction 0x{other:02x} is not known")),
            }
        }
    }

    fn take(&mut self, length: usize) -> Step<&[u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.input.len());
        let Some(end) = end else {
            self.at = self.input.len();
            return Err("the file ends inside the pickle".to_string());
        };
        let bytes = &self.input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Step<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length8(&mut self) -> Step<usize> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| format!("a text of {length} bytes"))
    }

    fn line(&mut self) -> Step<String> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n');
        let Some(length) = length else {
            return Err("the file ends inside the pickle".to_string());
        };
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn text(&mut self, length: usize) -> Step<()> {
        let bytes = self.take(length)?.to_vec();
        let text = String::from_utf8(bytes).map_err(|_| "a text that is not UTF-8".to_string())?;
        self.push(Object::Text(text));
        Ok(())
    }

    fn push(&mut self, object: Object) {
        self.objects.push(object);
        self.stack.push(self.objects.len() - 1);
    }

    fn top(&self) -> Step<Id> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".to_string())
    }

    fn pop(&mut self) -> Step<Id> {
        self.stack.pop().ok_or_else(|| "the stack is empty".to_string())
    }

    fn pop_last(&mut self, count: usize) -> Step<Vec<Id>> {
        let start = self.stack.len().checked_sub(count);
        let start = start.ok_or_else(|| "the stack is empty".to_string())?;
        Ok(self.stack.split_off(start))
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        let mark = mark.ok_or_else(|| "a mark is missing".to_string())?;
        Ok(self.stack.split_off(mark))
    }

    fn object(&self, id: Option<&Id>) -> Step<&Object> {
        id.and_then(|id| self.objects.get(*id)).ok_or_else(|| "an object is missing".to_string())
    }

    fn remember(&mut self, key: u64) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Step<()> {
        let id = *self.memo.get(&key).ok_or_else(|| format!("nothing is remembered as {key}"))?;
        self.stack.push(id);
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Step<()> {
        let list = self.top()?;
        match self.objects.get_mut(list) {
            Some(Object::List(list)) => list.extend(items),
            _ => return Err("something is appended to what is no list".to_string()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Step<()> {
        let dictionary = self.top()?;
        match self.objects.get_mut(dictionary) {
            Some(Object::Dict(entries)) if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err("entries are added to what is no dictionary".to_string()),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Step<()> {
        let known =
            GLOBALS.iter().find(|(in_module, known, _)| (*in_module, *known) == (module, name));
        match known {
            Some((_, _, global)) => {
                self.push(Object::Global(*global));
                Ok(())
            }
            None => Err(format!(
                "the file asks for `{module}.{name}`, which a checkpoint does not need; nothing was executed"
            )),
        }
    }

    fn call(&mut self, items: &[Id]) -> Step<()> {
        let Object::Global(global) = *self.object(items.first())? else {
            return Err("something is called that is no function".to_string());
        };
        let Object::Tuple(arguments) = self.object(items.get(1))? else {
            return Err("a call without its arguments".to_string());
        };
        let arguments = arguments.clone();
        let made = match global {
            Global::OrderedDict => match arguments.first() {
                None => Object::Dict(Vec::new()),
                Some(pairs) => self.pairs(*pairs)?,
            },
            Global::Size => match arguments.first() {
                None => Object::Tuple(Vec::new()),
                Some(_) => match self.object(arguments.first())? {
                    Object::Tuple(items) | Object::List(items) => Object::Tuple(items.clone()),
                    _ => return Err("a size that is no tuple".to_string()),
                },
            },
            Global::RebuildParameter => self.object(arguments.first())?.clone(),
            Global::RebuildTensor => {
                let Object::Storage(storage) = self.object(arguments.first())?.clone() else {
                    return Err("a tensor without its storage".to_string());
                };
                let Object::Int(offset) = *self.object(arguments.get(1))? else {
                    return Err("a tensor without its offset".to_string());
                };
                Object::Tensor(TensorRef {
                    storage,
                    offset: size(offset)?,
                    shape: self.sizes(arguments.get(2))?,
                    stride: self.sizes(arguments.get(3))?,
                })
            }
            Global::Storage(_) => return Err("a storage is called".to_string()),
        };
        self.push(made);
        Ok(())
    }

    fn pairs(&self, list: Id) -> Step<Object> {
        let Object::List(items) = self.object(Some(&list))? else {
            return Err("a dictionary that is made of no list".to_string());
        };
        let mut entries = Vec::new();
        for item in items {
            match self.object(Some(item))? {
                Object::Tuple(pair) | Object::List(pair) if pair.len() == 2 => {
                    entries.push((pair[0], pair[1]));
                }
                _ => return Err("a dictionary that is made of no pairs".to_string()),
            }
        }
        Ok(Object::Dict(entries))
    }

    fn sizes(&self, id: Option<&Id>) -> Step<Vec<usize>> {
        let (Object::Tuple(items) | Object::List(items)) = self.object(id)? else {
            return Err("a shape that is no tuple".to_string());
        };
        items
            .iter()
            .map(|item| match self.object(Some(item))? {
                Object::Int(number) => size(*number),
                _ => Err("a shape that is not of numbers".to_string()),
            })
            .collect()
    }

    /// `("storage", class, key, place, elements, …)`, the same in both containers.
    fn storage(&self, id: Id) -> Step<StorageRef> {
        let Object::Tuple(items) = self.object(Some(&id))? else {
            return Err("a reference that is no tuple".to_string());
        };
        let part = |number: usize| self.object(items.get(number));
        match (part(0)?, part(1)?, part(2)?, part(4)?) {
            (
                Object::Text(word),
                Object::Global(Global::Storage(element)),
                Object::Text(key),
                Object::Int(elements),
            ) if word == "storage" => {
                if !matches!(
                    items.get(5).map(|id| self.object(Some(id))),
                    None | Some(Ok(Object::None))
                ) {
                    return Err("a storage that is a view of another".to_string());
                }
                Ok(StorageRef { key: key.clone(), element: *element, elements: size(*elements)? })
            }
            _ => Err("a reference to something that is no storage".to_string()),
        }
    }
}

fn size(number: i64) -> Step<usize> {
    usize::try_from(number).map_err(|_| format!("the size {number}"))
}

fn long(bytes: Vec<u8>) -> Object {
    if bytes.len() > 8 {
        return Object::Long(bytes);
    }
    // Sign-extended, as Python encodes it.
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut full = [if negative { 0xff } else { 0 }; 8];
    full[..bytes.len()].copy_from_slice(&bytes);
    Object::Int(i64::from_le_bytes(full))
}

fn decimal(line: &str) -> Step<Object> {
    match line {
        "00" => Ok(Object::Bool(false)),
        "01" => Ok(Object::Bool(true)),
        number => number
            .trim_end_matches('L')
            .parse()
            .map(Object::Int)
            .map_err(|_| format!("the number `{number}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_no_checkpoint_needs_are_refused_by_name() {
        // pickle.dumps of an object whose __reduce__ is (os.system, ("true",)), protocol 2.
        let evil = b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.";
        let message = Pickle::read(evil).unwrap_err().message;
        assert!(message.contains("`posix.system`"), "{message}");
    }

    #[test]
    fn every_truncation_is_an_error_and_no_panic() {
        let whole = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00b]q\x01(K\x02K\x03eu.";
        let pickle = Pickle::read(whole).unwrap();
        assert_eq!(pickle.length, whole.len());
        assert_eq!(pickle.entries(pickle.root()).len(), 2);
        for length in 0..whole.len() {
            assert!(Pickle::read(&whole[..length]).is_err());
        }
        for place in 0..whole.len() {
            for value in [0, 0x28, 0x52, 0x75, 0x80, 0xff] {
                let mut damaged = whole.to_vec();
                damaged[place] = value;
                let _ = Pickle::read(&damaged); // whatever it says, it returns
            }
        }
    }

    #[test]
    fn long_integers() {
        assert_eq!(long(vec![0xff]), Object::Int(-1));
        assert_eq!(long(vec![0xff, 0]), Object::Int(255));
        assert_eq!(long(Vec::new()), Object::Int(0));
    }
}
