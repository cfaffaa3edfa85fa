//! An opened adapter: device and queue, buffers, pipelines, and failures.
//!
//! wgpu reports most failures by a callback, some time after the call that caused them. They are recorded here, and
//! become errors the next time the host waits for the device.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};

use syva_core::{Error, Result};

use crate::shader::{Flavour, Kernel};
use crate::step::WORDS;

/// The largest buffer in bytes, even if the adapter allows more. This keeps indices far below 32 bits.
const LARGEST: u64 = 1 << 30;

/// A compute pipeline and the layout of its one bind group.
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// The failures that the callbacks have recorded.
#[derive(Default)]
struct Trouble {
    lost: Option<String>,
    out_of_memory: bool,
    failed: Option<String>,
}

/// Clones share the device, and what was compiled for it.
#[derive(Clone)]
pub(crate) struct Gpu {
    /// For messages: `gpu`, `gpu:1`, …
    pub(crate) name: String,
    device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) limits: wgpu::Limits,
    /// The most bytes per buffer.
    pub(crate) largest: u64,
    /// Whether this is a software device, which is faster with other tiles.
    pub(crate) software: bool,
    pipelines: Arc<Mutex<Vec<Compiled>>>,
    trouble: Arc<Mutex<Trouble>>,
}

/// A kernel that is compiled, or is being compiled by the first who needed it.
type Compiled = (Kernel, Flavour, Arc<OnceLock<Arc<Pipeline>>>);

/// Locks a mutex. Its content is still good if a holder has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// Opens the adapter with all its limits.
    pub(crate) fn open(name: String, adapter: &wgpu::Adapter) -> Result<Self> {
        let limits = adapter.limits();
        let request = wgpu::DeviceDescriptor {
            label: Some("syva"),
            required_features: wgpu::Features::empty(),
            required_limits: limits.clone(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&request)).map_err(|error| {
            let problem = format!("the adapter cannot be opened ({error})");
            let remedy = "check its driver and how much memory is free, or use --device cpu".into();
            Error::Device { device: name.clone(), problem, remedy }
        })?;
        let trouble = Arc::<Mutex<Trouble>>::default();
        let seen = Arc::clone(&trouble);
        device.on_uncaptured_error(Arc::new(move |error| {
            let mut trouble = lock(&seen);
            match error {
                wgpu::Error::OutOfMemory { .. } => trouble.out_of_memory = true,
                other => _ = trouble.failed.get_or_insert(other.to_string()),
            }
        }));
        let seen = Arc::clone(&trouble);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lock(&seen).lost.get_or_insert(message);
            }
        });
        let bound = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(LARGEST);
        let software = adapter.get_info().device_type == wgpu::DeviceType::Cpu;
        Ok(Self { name, device, queue, limits, largest: bound / 16 * 16, software, pipelines: Arc::default(), trouble })
    }

    /// The same device with no buffer larger than that.
    pub(crate) fn with_buffers_of(&self, largest: u64) -> Self {
        Self { largest: largest.clamp(64, self.largest) / 16 * 16, ..self.clone() }
    }

    /// Whether the device can still be used.
    pub(crate) fn works(&self) -> bool {
        lock(&self.trouble).lost.is_none()
    }

    /// Returns the failure since the last check, if there was one. `need` says how much memory is needed for what.
    pub(crate) fn check(&self, need: impl FnOnce() -> String) -> Result<()> {
        let mut trouble = lock(&self.trouble);
        let device = self.name.clone();
        // Some drivers lose the device when it runs out of memory.
        let full = |message: &String| message.to_lowercase().contains("memory");
        if let Some(message) = trouble.lost.as_ref().filter(|message| !full(message)) {
            let problem = format!("the device was lost ({message})");
            let remedy = "what was saved is whole: go on with `syva resume RUN`, there or with --device cpu".into();
            return Err(Error::Device { device, problem, remedy });
        }
        if trouble.out_of_memory || trouble.lost.is_some() {
            // Later failures are consequences of this one.
            (trouble.out_of_memory, trouble.failed) = (false, None);
            let problem = format!("out of memory; {}", need());
            let remedy = "lower --batch-size or the widths, or use --device cpu".into();
            return Err(Error::Device { device, problem, remedy });
        }
        if let Some(message) = trouble.failed.take() {
            let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            let problem = format!("the driver refused ({message})");
            let remedy = "this is a defect of Syvä or of the driver: report it, and use --device cpu meanwhile".into();
            return Err(Error::Device { device, problem, remedy });
        }
        Ok(())
    }

    /// Waits until all submitted work is done.
    pub(crate) fn wait(&self, need: impl FnOnce() -> String) -> Result<()> {
        // wgpu panics here when the device is lost while it waits.
        let waited = catch_unwind(AssertUnwindSafe(|| self.device.poll(wgpu::PollType::wait_indefinitely())));
        if !matches!(waited, Ok(Ok(_))) {
            lock(&self.trouble).lost.get_or_insert_with(|| "it stopped answering".into());
        }
        self.check(need)
    }

    /// Submits all writes, and waits until they are done.
    pub(crate) fn flush(&self, need: impl FnOnce() -> String) -> Result<()> {
        self.queue.submit([]);
        self.wait(need)
    }

    /// A buffer of `bytes` (rounded up to whole words, and never empty), all zero.
    pub(crate) fn buffer(&self, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let size = bytes.next_multiple_of(4).max(16);
        self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    }

    /// A buffer for kernels.
    pub(crate) fn storage(&self, bytes: u64) -> wgpu::Buffer {
        use wgpu::BufferUsages as Usage;
        self.buffer(bytes, Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC)
    }

    /// A buffer for kernels, filled with `words`.
    pub(crate) fn filled(&self, words: &[u32]) -> wgpu::Buffer {
        let buffer = self.storage(4 * words.len() as u64);
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }

    /// A small buffer of parameters.
    pub(crate) fn uniform(&self, words: &[u32]) -> wgpu::Buffer {
        let mut padded = [0u32; 12];
        padded[..words.len()].copy_from_slice(words);
        let buffer = self.buffer(48, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&padded));
        buffer
    }

    /// Reads the given number of words from the start of each buffer. Waits for the device.
    pub(crate) fn read(&self, from: &[(&wgpu::Buffer, usize)]) -> Result<Vec<Vec<u32>>> {
        let total: u64 = from.iter().map(|(_, words)| 4 * *words as u64).sum();
        if total > self.largest && from.len() > 1 {
            return from.iter().map(|part| Ok(self.read(&[*part])?.swap_remove(0))).collect();
        }
        let staging = self.buffer(total, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut encoder = self.encoder();
        let mut at = 0;
        for (buffer, words) in from {
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, 4 * *words as u64);
            at += 4 * *words as u64;
        }
        self.submit(encoder);
        let (done, told) = mpsc::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| _ = done.send(result));
        self.wait(|| format!("{total} bytes are needed to read results"))?;
        let unread = |reason: String| {
            let remedy = "try again, or use --device cpu".into();
            Error::Device { device: self.name.clone(), problem: format!("results cannot be read ({reason})"), remedy }
        };
        // Another thread that waits for the device may be the one that tells, a moment later.
        told.recv().map_err(|error| unread(error.to_string()))?.map_err(|error| unread(error.to_string()))?;
        let view = staging.get_mapped_range(..).map_err(|error| unread(error.to_string()))?;
        let mut words = view.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        Ok(from.iter().map(|(_, count)| words.by_ref().take(*count).collect()).collect())
    }

    pub(crate) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None })
    }

    pub(crate) fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
    }

    /// The pipeline of a kernel, compiled once. Different kernels can be compiled at the same time.
    pub(crate) fn pipeline(&self, kernel: Kernel, flavour: Flavour) -> Arc<Pipeline> {
        let mut pipelines = lock(&self.pipelines);
        let place = pipelines.iter().position(|(k, f, _)| (*k, *f) == (kernel, flavour)).unwrap_or_else(|| {
            pipelines.push((kernel, flavour, Arc::default()));
            pipelines.len() - 1
        });
        let compiled = Arc::clone(&pipelines[place].2);
        drop(pipelines);
        let compile = || Arc::new(self.compile(&crate::shader::source(kernel, flavour, self.software)));
        Arc::clone(compiled.get_or_init(compile))
    }

    /// Compiles a kernel. Its bindings are read from its text: the n-th line that declares a binding declares binding
    /// n.
    pub(crate) fn compile(&self, source: &str) -> Pipeline {
        let kinds = source.lines().filter_map(|line| {
            let kind = line.trim_start().strip_prefix("@group(0) @binding(")?.split_once("var<")?.1.split_once('>')?.0;
            Some(match kind {
                "uniform" => wgpu::BufferBindingType::Uniform,
                kind => wgpu::BufferBindingType::Storage { read_only: kind == "storage, read" },
            })
        });
        let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..)
            .zip(kinds)
            .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                // Binding 0, if it is uniform, holds the parameters of the block, chosen by a dynamic offset.
                ty: wgpu::BindingType::Buffer {
                    has_dynamic_offset: binding == 0 && ty == wgpu::BufferBindingType::Uniform,
                    ty,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout =
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        Pipeline { pipeline, layout }
    }

    /// Binds buffers to a pipeline, in the order of its bindings. The kernel sees one block's parameters of a buffer with a
    /// dynamic offset.
    pub(crate) fn bind(
        &self,
        pipeline: &Pipeline,
        dynamic: Option<&wgpu::Buffer>,
        rest: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        let dynamic = dynamic.map(|buffer| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset: 0,
                size: wgpu::BufferSize::new(4 * WORDS as u64),
            })
        });
        let resources = dynamic.into_iter().chain(rest.iter().map(|buffer| buffer.as_entire_binding()));
        let entries: Vec<wgpu::BindGroupEntry<'_>> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        })
    }
}
