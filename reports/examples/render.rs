use detsim_reports::{outline::Outline, page, record::RunRecord, sweep};
fn main() {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap();
    let read =
        |p: String| -> RunRecord { serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap() };
    if mode == "page" {
        print!("{}", page::page(&read(args.next().unwrap())));
    } else {
        let runs: Vec<Outline> = args
            .map(|p| {
                let mut o = Outline::of(&read(p.clone()));
                o.page = Some(p.replace(".json", ".html"));
                o
            })
            .collect();
        print!("{}", sweep::index("detsim run", &runs));
    }
}
