use super::*;
use super::frame::*;
use rand_chacha::ChaCha8Rng;
pub struct Membership(Incarnation);
pub struct Facts { pub is_leader: bool, pub has_leader: bool, pub has_seen_commit: bool, pub holds_actions: bool, pub channel_is_healthy: bool }
pub enum Event { Join(Incarnation), Send(Target, Message), Founded{roster: Roster, campaign: bool}, Renewed{why: String}, Warn(Warning), Fail(crate::error::Error) }
impl Membership {
  pub fn new(_o: &Options, mut dice: ChaCha8Rng) -> Self { Self(Incarnation::draw(&mut dice)) }
  pub fn me(&self) -> Incarnation { self.0 }
  pub fn tick(&mut self, _f: &Facts) {}
  pub fn hear_frame(&mut self, _f: Incarnation, _c: ClusterUuid, _x: &Facts) {}
  pub fn hear(&mut self, _f: Incarnation, _m: &Message, _x: &Facts) {}
  pub fn poll(&mut self) -> Option<Event> { None }
  pub fn waiting_for(&self) -> Option<String> { None }
}
