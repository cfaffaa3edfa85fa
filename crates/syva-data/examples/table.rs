//! Reads tables and says what they hold: `cargo run --release -p syva-data --example table -- data/*.csv`.

use syva_core::table::{ReadOptions, Values};

fn main() -> syva_core::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let begin = std::time::Instant::now();
    if let [flag, path] = &arguments[..]
        && flag == "--parts"
    {
        let mut rows = 0;
        for part in syva_data::parts(path.as_ref(), &ReadOptions::default())? {
            rows += part?.table.rows();
        }
        println!("{rows} rows in {:.3} s", begin.elapsed().as_secs_f64());
        return Ok(());
    }
    let (table, found) = syva_data::read(&syva_data::files(&arguments)?, &ReadOptions::default())?;
    let seconds = begin.elapsed().as_secs_f64();
    println!("{} rows, {} columns in {seconds:.3} s", table.rows(), table.columns().len());
    let said = (found.delimiter, found.header, found.decimal, found.encoding);
    println!("delimiter, header, decimal sign, encoding: {said:?}");
    for column in table.columns() {
        let kind = match &column.values {
            Values::Numbers(_) => "numbers".to_string(),
            Values::Texts(texts) => format!("{} texts", texts.vocabulary().len()),
        };
        println!("{:24} {kind:16} {} missing", column.name, column.values.missing());
    }
    Ok(())
}
