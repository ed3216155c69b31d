//! The control as a service: two instances of the small reservation service that the harness checks itself with, to try
//! the harness on. With the name of a fault (such as `CheckThenTake`) as its argument it has that fault, without it is
//! correct. It prints its URLs, one a line, and runs until its input ends.

use std::io::Read;

use stockhold_harness::internal::control::{Control, Fault};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fault = std::env::args().nth(1).map(|name| named(&name)).transpose()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let control = runtime.block_on(Control::start(2, fault))?;
    control.urls.iter().for_each(|url| println!("{url}"));
    // Whoever started it closes its input, also by dying.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn named(name: &str) -> Result<Fault, String> {
    let all = || Fault::ALL.iter().map(|fault| format!("{fault:?}")).collect::<Vec<_>>().join(", ");
    let fault = Fault::ALL.iter().find(|fault| format!("{fault:?}") == name);
    fault.copied().ok_or_else(|| format!("no fault is called {name}; there are {}", all()))
}
